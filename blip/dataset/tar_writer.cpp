#include "blip/dataset/tar_writer.h"

#include <archive.h>
#include <archive_entry.h>

#include "blip/base/error.h"

namespace blip {

struct TarWriter::State {
  struct Close {
    void operator()(archive* a) const { archive_write_free(a); }
    void operator()(archive_entry* e) const { archive_entry_free(e); }
  };

  std::string file;
  std::unique_ptr<archive, Close> tar{archive_write_new()};
  std::unique_ptr<archive_entry, Close> entry{archive_entry_new()};

  void check(la_ssize_t status) {
    if (status >= 0) return;
    const char* reason = archive_error_string(tar.get());
    const std::string sentence = "cannot write " + file + ": " + (reason ? reason : "");
    archive_write_fail(tar.get());  // else freeing it would try to write the rest
    throw Error(ErrorCode::io, sentence);
  }
};

TarWriter::TarWriter(const std::filesystem::path& file) : state_(std::make_unique<State>()) {
  state_->file = file.string();
  archive* tar = state_->tar.get();
  // Takes names of any length and any bytes as they are.
  state_->check(archive_write_set_format_gnutar(tar));
  state_->check(archive_write_open_filename(tar, file.c_str()));
}

TarWriter::TarWriter(TarWriter&&) noexcept = default;
TarWriter& TarWriter::operator=(TarWriter&&) noexcept = default;

TarWriter::~TarWriter() {
  if (state_) archive_write_fail(state_->tar.get());
}

void TarWriter::add(const std::string& name, std::string_view content) {
  archive_entry* entry = archive_entry_clear(state_->entry.get());
  archive_entry_set_pathname(entry, name.c_str());
  archive_entry_set_size(entry, static_cast<la_int64_t>(content.size()));
  archive_entry_set_filetype(entry, AE_IFREG);
  archive_entry_set_perm(entry, 0644);
  archive_entry_set_mtime(entry, 0, 0);
  archive* tar = state_->tar.get();
  // A name that the locale cannot spell is a warning, and written as it is.
  const int status = archive_write_header(tar, entry);
  if (status != ARCHIVE_WARN) state_->check(status);
  state_->check(archive_write_data(tar, content.data(), content.size()));
}

void TarWriter::finish() {
  state_->check(archive_write_close(state_->tar.get()));
}

}  // namespace blip
