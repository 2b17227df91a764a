// Any bytes as the files of an index: an error, or what can be searched without leaving them. The
// first byte says which file it is.
#include <cmath>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>
#include <vector>

#include "blip/base/error.h"
#include "blip/index/codes.h"
#include "blip/index/graph.h"
#include "blip/index/lists.h"
#include "blip/index/manifest.h"
#include "blip/index/rows.h"
#include "blip/index/sketches.h"

namespace {

constexpr std::size_t kRows = 6;
constexpr std::size_t kWidth = 4;

/// Rows 0 to 5 of width 4.
std::vector<float> vectors() {
  std::vector<float> values;
  for (std::size_t row = 0; row < kRows; ++row) {
    const auto angle = static_cast<float>(row);
    values.insert(values.end(), {std::cos(angle), std::sin(angle), 0, 0});
  }
  return values;
}

/// Found rows must be there.
void check(const std::vector<std::vector<blip::Neighbour>>& found, std::size_t rows) {
  for (const auto& neighbours : found) {
    for (const blip::Neighbour& n : neighbours) {
      if (n.row >= rows) __builtin_trap();
    }
  }
}

blip::Graph graph_of(const blip::Codes& codes) {
  blip::Graph graph;
  graph.grow(kRows);
  const std::uint32_t rows[kRows] = {0, 1, 2, 3, 4, 5};
  graph.insert(codes, rows, {.num_threads = 1});
  return graph;
}

/// The rest of the input cut in three, as the three files of rows.
void use_rows(std::span<const std::byte> bytes) {
  const std::size_t part = bytes.size() / 3;
  const blip::Rows rows(bytes.first(part), bytes.subspan(part, part), bytes.subspan(2 * part),
                        kWidth);
  for (std::size_t row = 0; row < rows.count(); ++row) {
    try {
      rows.entry(row);
      rows.verify(row);
    } catch (const blip::Error&) {
    }
  }
  if (rows.whole_from(0) > rows.count()) __builtin_trap();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  // Mapped files begin at a page; numbers in them are aligned.
  std::vector<std::uint64_t> aligned(size / 8 + 1);
  std::memcpy(aligned.data(), data + 1, size - 1);
  const auto bytes = std::as_bytes(std::span(aligned)).first(size - 1);
  const std::vector<float> stored = vectors();
  const blip::VectorView view{stored.data(), kRows, kWidth};
  const blip::Codes codes = blip::Codes::of(view);
  const blip::RowMarks none;
  const blip::CodedRows rows{view, codes, none};
  const std::span query = std::span(stored).first(kWidth);
  try {
    switch (data[0] % 6) {
      case 0:
        blip::parse_manifest({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, "fuzz");
        break;
      case 1:
        check(blip::Graph::parse(bytes, kRows, "fuzz").search(rows, query, 4, 4), kRows);
        break;
      case 2:
        check(blip::Lists::parse(bytes, kRows, kWidth, "fuzz").search(query, 4, 2), kRows);
        break;
      case 3: {
        const auto any = blip::Codes::parse(bytes, kRows, kWidth, "fuzz");
        check(graph_of(codes).search({view, any, none}, query, 4, 4), kRows);
        break;
      }
      case 4:
        check(blip::Sketches::parse(bytes, kRows, kWidth, "fuzz").search(rows, query, 4, 4), kRows);
        break;
      default:
        use_rows(bytes);
    }
  } catch (const blip::Error&) {
  }
  return 0;
}
