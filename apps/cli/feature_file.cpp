#include "apps/cli/feature_file.h"

#include <bit>
#include <ostream>
#include <string>

#include "blip/base/error.h"
#include "blip/base/file.h"
#include "blip/checkpoint/safetensors.h"

namespace blip::cli {
namespace {

static_assert(std::endian::native == std::endian::little, "both formats are little-endian");

/// NumPy's format 1.0: magic, version, length of the header, the header padded to 64 bytes in all.
std::string npy_header(std::size_t rows, std::size_t width) {
  std::string header = "{'descr': '<f4', 'fortran_order': False, 'shape': (" +
                       std::to_string(rows) + ", " + std::to_string(width) + "), }";
  constexpr std::size_t kBefore = 10, kAlignment = 64;
  const std::size_t size = (kBefore + header.size() + 1 + kAlignment - 1) / kAlignment * kAlignment;
  header.resize(size - kBefore - 1, ' ');
  header += '\n';
  std::string all("\x93NUMPY\x01\x00", 8);
  all += static_cast<char>(header.size() & 0xFF);
  all += static_cast<char>(header.size() >> 8);
  return all + header;
}

void write_npy(const std::filesystem::path& file, const FeatureTable& table) {
  std::filesystem::path names = file;
  names += ".json";
  const Json sidecar = {{"kind", table.kind}, {"rows", table.rows}, {"errors", table.errors}};
  write_file(names, [&](std::ostream& out) { out << dump(sidecar, 1) << '\n'; });
  write_file(file, [&](std::ostream& out) {
    out << npy_header(table.rows.size(), table.width);
    const std::span<const std::byte> bytes = std::as_bytes(std::span(table.values));
    out.write(reinterpret_cast<const char*>(bytes.data()),
              static_cast<std::streamsize>(bytes.size()));
  });
}

}  // namespace

void check_feature_file(const std::filesystem::path& file) {
  const std::filesystem::path extension = file.extension();
  if (extension == ".npy" || extension == ".safetensors") return;
  throw Error(ErrorCode::usage, "the file to write must end in .npy or .safetensors, but is " +
                                    in_quotes(file.string()));
}

void write_feature_file(const std::filesystem::path& file, const FeatureTable& table) {
  check_feature_file(file);
  if (file.extension() == ".npy") return write_npy(file, table);
  StoredTensor features;
  features.shape = {static_cast<std::int64_t>(table.rows.size()),
                    static_cast<std::int64_t>(table.width)};
  features.bytes = std::as_bytes(std::span(table.values));
  write_safetensors(
      file, {{"features", features}},
      {{"kind", table.kind}, {"rows", dump(table.rows)}, {"errors", dump(table.errors)}});
}

}  // namespace blip::cli
