#include "blip/index/part.h"

#include <string>

#include "blip/base/error.h"
#include "blip/index/checksum.h"
#include "blip/index/durable.h"

namespace blip {

std::filesystem::path part_path(const std::filesystem::path& folder, std::string_view stem,
                                std::uint64_t number) {
  return folder / (std::string(stem) + "." + std::to_string(number));
}

std::shared_ptr<const MappedFile> open_part(const std::filesystem::path& file,
                                            const IndexPart& part) {
  auto mapped = MappedFile::open(file);
  if (mapped->bytes().size() != part.bytes) {
    throw Error(ErrorCode::io, file.string() + " has " + std::to_string(mapped->bytes().size()) +
                                   " bytes; the manifest says " + std::to_string(part.bytes));
  }
  return mapped;
}

void require_checksum(const MappedFile& file, std::size_t checked, const IndexPart& part) {
  if (checksum(file.bytes().first(checked)) != part.checksum) {
    throw Error(ErrorCode::io, file.path().string() + " does not match its checksum");
  }
}

IndexPart finish_part(const MappedFile& file, std::size_t checked) {
  sync_to_disk(file.path());
  return {file.bytes().size(), checksum(file.bytes().first(checked))};
}

}  // namespace blip
