#include "blip/checkpoint/weight_files.h"

#include <algorithm>
#include <set>
#include <string>
#include <string_view>

#include "blip/base/error.h"
#include "blip/base/json.h"
#include "blip/checkpoint/safetensors.h"
#include "blip/checkpoint/torch_pickle.h"

namespace blip {
namespace {

namespace fs = std::filesystem;

bool is_plain_file_name(std::string_view name) {
  return !name.empty() && name != "." && name != ".." &&
         name.find_first_of(std::string_view("/\\\0", 3)) == std::string_view::npos;
}

/// The shards that an index names, each once.
std::set<std::string> shards_of(const fs::path& index) {
  const Json json = read_json(index);
  const auto map = json.is_object() ? json.find("weight_map") : json.end();
  if (map == json.end() || !map->is_object()) {
    throw Error(ErrorCode::bad_model, index.string() + " has no \"weight_map\" object");
  }
  std::set<std::string> shards;
  for (const auto& [tensor, shard] : map->items()) {
    if (!shard.is_string() || !is_plain_file_name(shard.get_ref<const std::string&>())) {
      throw Error(ErrorCode::bad_model, index.string() + " places tensor " + in_quotes(tensor) +
                                            " in " + in_quotes(shard.dump()) +
                                            "; expected the name of a file beside it");
    }
    shards.insert(shard.get<std::string>());
  }
  return shards;
}

void read_shards(const fs::path& index, TensorStore& store) {
  for (const std::string& shard : shards_of(index)) {
    const fs::path file = index.parent_path() / shard;
    std::error_code ignored;
    if (!fs::exists(file, ignored)) {
      throw Error(ErrorCode::not_found,
                  file.string() + " is missing: " + index.string() + " names it as a part");
    }
    read_weight_file(file, store);
  }
}

}  // namespace

void read_weight_file(const fs::path& file, TensorStore& store) {
  if (file.extension() == ".safetensors") {
    read_safetensors(file, store);
  } else {
    read_torch_pickle(file, store);
  }
}

void read_weight_folder(const fs::path& folder, TensorStore& store) {
  std::string names;
  std::error_code ignored;
  for (const char* whole : {"model.safetensors", "pytorch_model.bin"}) {
    if (fs::exists(folder / whole, ignored)) return read_weight_file(folder / whole, store);
    const std::string index = std::string(whole) + ".index.json";
    if (fs::exists(folder / index, ignored)) return read_shards(folder / index, store);
    names += (names.empty() ? "" : ", ") + std::string(whole) + ", " + index;
  }
  throw Error(ErrorCode::not_found, folder.string() + " holds no weights; looked for " + names);
}

bool is_converted(const TensorStore& tensors) {
  return std::ranges::any_of(tensors.tensors(), [](const auto& tensor) {
    return tensor.second.dtype == DType::i8 || tensor.first.ends_with(kWeightPanels);
  });
}

}  // namespace blip
