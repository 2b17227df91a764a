#include "apps/cli/rows.h"

#include <cstdio>

#include "apps/findings/findings.h"

namespace blip::cli {
namespace {

void flush() {
  if (std::fflush(stdout) != 0) throw Error(ErrorCode::io, "cannot write to standard output");
}

Json whole(const Row& row) {
  Json json = row.subject;
  if (row.error) {
    json["error"] = findings::to_json(*row.error);
  } else {
    json.update(row.findings);
  }
  return json;
}

}  // namespace

void RowWriter::write(const Row& row) {
  for (const std::string& warning : row.warnings)
    std::fprintf(stderr, "blip: %s\n", warning.c_str());
  if (row.error) {
    std::fprintf(stderr, "blip: %s\n", row.error->what());
    ++failed_;
    last_status_ = exit_status(row.error->code());
  }
  if (format_ == Format::text) {
    for (const std::string& line : row.lines) {
      if (show_labels_) std::printf("%s\t", row.label.c_str());
      std::printf("%s\n", line.c_str());
    }
  } else {
    const std::string text = dump(whole(row));
    const char* before = format_ == Format::jsonl ? "" : rows_ == 0 ? "[\n" : ",\n";
    std::printf("%s%s%s", before, text.c_str(), format_ == Format::jsonl ? "\n" : "");
  }
  ++rows_;
  flush();
}

void RowWriter::finish() {
  if (format_ == Format::json) std::printf(rows_ == 0 ? "[]\n" : "\n]\n");
  flush();
}

int RowWriter::status() const {
  if (failed_ == 0) return 0;
  return rows_ == 1 ? last_status_ : 1;
}

}  // namespace blip::cli
