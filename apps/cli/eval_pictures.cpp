#include "apps/cli/eval_pictures.h"

#include <algorithm>
#include <new>

#include "apps/cli/inputs.h"
#include "blip/base/error.h"

namespace blip::cli {
namespace {

constexpr std::size_t kKept = 8;

/// What stands between the first two marks of COCO's names, and before the first of NLVR2's.
std::string set_of(const std::string& file) {
  const std::size_t first = file.find('_');
  if (first == std::string::npos) return file.substr(0, file.find('-'));
  return file.substr(first + 1, file.find('_', first + 1) - first - 1);
}

}  // namespace

std::filesystem::path EvalPictures::find(const std::string& name) const {
  const std::filesystem::path relative(name);
  if (name.empty()) throw Error(ErrorCode::usage, "the annotations do not name the picture's file");
  if (relative.is_absolute() ||
      std::find(relative.begin(), relative.end(), "..") != relative.end()) {
    throw Error(ErrorCode::usage,
                "the annotations name a picture outside of the folder: " + in_quotes(name));
  }
  const std::string file = relative.filename().string();
  for (const std::filesystem::path& candidate :
       {folder_ / relative, folder_ / file, folder_ / set_of(file) / file}) {
    std::error_code ignored;
    if (std::filesystem::exists(candidate, ignored)) return candidate;
  }
  return folder_ / relative;
}

EncodedImage EvalPictures::encode(const std::string& name, const Context& context) {
  const auto known = std::find_if(recent_.begin(), recent_.end(),
                                  [&](const auto& entry) { return entry.first == name; });
  if (known != recent_.end()) return known->second;
  const std::filesystem::path path = find(name);
  try {
    const Image image = load_input({path.string(), path}, options_);
    recent_.emplace_front(name, engine_.encode({&image, 1}, context).front());
  } catch (const std::bad_alloc&) {
    throw Error(ErrorCode::too_large, path.string() + ": out of memory");
  }
  if (recent_.size() > kKept) recent_.pop_back();
  return recent_.front().second;
}

}  // namespace blip::cli
