#include "blip/checkpoint/torch_pickle.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <vector>

#include "blip/base/error.h"
#include "blip/base/file.h"
#include "blip/checkpoint/torch_file_builder_test.h"

namespace blip {
namespace {

using testing::legacy_file;
using testing::little_endian;
using testing::zip_file;
namespace pickle = testing::pickle;

const std::filesystem::path kData = std::filesystem::path(BLIP_TEST_DATA) / "checkpoint";

TensorStore read(const std::string& file) {
  TensorStore store;
  // A copy of its exact size, so that a sanitizer sees every read beyond it.
  const auto bytes = std::make_shared<std::vector<char>>(file.begin(), file.end());
  read_torch_pickle(std::as_bytes(std::span(*bytes)), bytes, "model.pth", store);
  return store;
}

std::string error_of(const std::string& file, ErrorCode code) {
  try {
    read(file);
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), code) << e.what();
    return e.what();
  }
  ADD_FAILURE() << "no error";
  return "";
}

void expect_error(const std::string& file, ErrorCode code, const std::string& part) {
  const std::string error = error_of(file, code);
  EXPECT_NE(error.find(part), std::string::npos) << error;
}

std::vector<float> values(const TensorStore& store, const std::string& name, const Shape& shape) {
  const Weight weight = store.weight(name, shape);
  return {weight.span().begin(), weight.span().end()};
}

template <class T>
T element(const TensorStore& store, const std::string& name, std::size_t i) {
  T value;
  std::memcpy(&value, store.find(name)->bytes.subspan(i * sizeof(T)).data(), sizeof value);
  return value;
}

/// A file whose object is `tensor` under "w", with one storage "0" of four floats 1 to 4.
std::string file_with(const pickle::Tensor& tensor) {
  std::string data;
  for (const float value : {1.0f, 2.0f, 3.0f, 4.0f}) data += little_endian(value);
  return legacy_file(pickle::dict({{"w", pickle::tensor(tensor)}}), {{"0", 4, data}});
}

class TorchFile : public ::testing::TestWithParam<const char*> {};

/// The values that tools/make_checkpoint_fixtures.py writes.
TEST_P(TorchFile, HasTheValuesThatTorchSaved) {
  using Floats = std::vector<float>;
  TensorStore store;
  read_torch_pickle(kData / GetParam(), store);
  EXPECT_EQ(store.tensors().size(), 15u);
  EXPECT_EQ(values(store, "linear.weight", {2, 2}), (Floats{1, 2, 3, 4}));
  EXPECT_EQ(values(store, "linear.bias", {2}), (Floats{0.5f, -0.5f}));
  EXPECT_EQ(values(store, "whole", {3, 4}), (Floats{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}));
  EXPECT_EQ(values(store, "transposed", {4, 3}), (Floats{0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11}));
  EXPECT_EQ(values(store, "row", {4}), (Floats{4, 5, 6, 7}));
  EXPECT_EQ(values(store, "window", {2, 2}), (Floats{5, 6, 9, 10}));
  EXPECT_EQ(values(store, "parameter", {2}), (Floats{7, 8}));
  EXPECT_EQ(values(store, "scalar", {}), (Floats{2.5f}));
  EXPECT_EQ(values(store, "half", {3}), (Floats{1.5f, -2.0f, 65504.0f}));
  EXPECT_EQ(values(store, "bfloat", {3})[0], 1.5f);
  EXPECT_EQ(values(store, "empty", {0, 3}), Floats());
  EXPECT_EQ(values(store, "expanded", {3}), (Floats{9, 9, 9}));
  EXPECT_EQ(element<std::int64_t>(store, "long", 1), std::int64_t{1} << 40);
  EXPECT_EQ(element<std::uint8_t>(store, "byte", 1), 255);
  EXPECT_EQ(store.find("flags")->dtype, DType::boolean);
}

INSTANTIATE_TEST_SUITE_P(BothForms, TorchFile, ::testing::Values("zip.pth", "legacy.pth"));

TEST(TorchPickle, ReadsProtocol4AndStripsDataParallelPrefix) {
  TensorStore store;
  read_torch_pickle(kData / "protocol4.pth", store);
  EXPECT_EQ(store.tensors().size(), 2u);
  EXPECT_EQ(values(store, "half", {3})[2], 65504.0f);
  EXPECT_EQ(values(store, "transposed", {4, 3})[1], 4.0f);
}

TEST(TorchPickle, ViewsContiguousTensors) {
  const auto mapped = MappedFile::open(kData / "zip.pth");
  TensorStore store;
  read_torch_pickle(mapped->bytes(), mapped, "zip.pth", store);
  const auto is_view = [&](const char* name) {
    const std::byte* data = store.find(name)->bytes.data();
    return data >= mapped->bytes().data() && data < mapped->bytes().data() + mapped->bytes().size();
  };
  EXPECT_TRUE(is_view("whole"));
  EXPECT_TRUE(is_view("row"));
  EXPECT_FALSE(is_view("transposed"));
  EXPECT_EQ(store.find("row")->bytes.data(), store.find("whole")->bytes.data() + 16);
}

TEST(TorchPickle, TakesTheDictionaryThatHoldsTensors) {
  const std::string tensor = pickle::tensor({"0", 1, {1}, {1}});
  const std::vector<testing::Storage> storages{{"0", 1, std::string(4, '\0')}};
  const auto names = [&](const std::string& object) {
    std::string out;
    const TensorStore store = read(legacy_file(object, storages));
    for (const auto& [name, value] : store.tensors()) out += name + " ";
    return out;
  };
  const std::string inner = pickle::dict({{"x", tensor}, {"epoch", "N"}});
  EXPECT_EQ(names(inner), "x ");
  EXPECT_EQ(names(pickle::dict({{"model", inner}, {"y", tensor}})), "x ");
  EXPECT_EQ(names(pickle::dict({{"state_dict", inner}})), "x ");
  EXPECT_EQ(names(pickle::dict({{"module", inner}})), "x ");
  EXPECT_EQ(names(pickle::dict({{"model", pickle::dict({})}, {"y", tensor}})), "y ");
  EXPECT_EQ(names(pickle::dict({{"module.x", tensor}, {"other", tensor}})), "module.x other ");
  expect_error(legacy_file(pickle::dict({{"optimizer", inner}}), storages), ErrorCode::bad_model,
               "holds no tensors");
  expect_error(legacy_file("N", {}), ErrorCode::bad_model, "holds no tensors");
  expect_error(legacy_file("](" + tensor + "e", storages), ErrorCode::bad_model, "no tensors");
}

TEST(TorchPickle, RefusesOtherGlobalsByName) {
  const std::pair<const char*, const char*> cases[] = {
      {"os", "system"},
      {"posix", "system"},
      {"builtins", "eval"},
      {"argparse", "Namespace"},
      {"torch", "load"},
      {"numpy.core.multiarray", "scalar"},
      {"torch._utils", ""},
      {"", ""},
      {"torch.storage", "_load_from_bytes"},
  };
  for (const auto& [module, name] : cases) {
    const std::string asks = pickle::global(module, name) + pickle::text("id") + "\x85R";
    const std::string wanted = "asks for the Python object \"" + std::string(module) + "." + name +
                               "\"; only tensors and plain containers are loaded";
    expect_error(pickle::whole(asks), ErrorCode::unsupported, wanted);
    expect_error(legacy_file(asks, {}), ErrorCode::unsupported, wanted);
    expect_error(zip_file({{"a/data.pkl", pickle::whole(asks)}}), ErrorCode::unsupported, wanted);
    const std::string stacked = pickle::text(module) + pickle::text(name) + "\x93";
    expect_error(legacy_file(stacked, {}), ErrorCode::unsupported, wanted);
  }
}

TEST(TorchPickle, RefusesWhatIsNoFileOfTorch) {
  expect_error("", ErrorCode::bad_model, "no file of torch.save");
  expect_error("<html>not found</html>", ErrorCode::bad_model, "no file of torch.save");
  expect_error(pickle::whole("K\x01"), ErrorCode::bad_model, "not written by torch.save");
  expect_error(pickle::whole("}"), ErrorCode::bad_model, "not written by torch.save");
  expect_error(std::string(257, '\0') + "ustar" + std::string(250, '\0'), ErrorCode::unsupported,
               "tar form");
}

TEST(TorchPickle, RefusesDamagedPickles) {
  const std::pair<std::string, std::string> cases[] = {
      {"", "nothing is left"},
      {"0", "nothing is left"},
      {"(N1", "nothing is left"},
      {"t", "there is no mark"},
      {"N(0t", "there is no mark"},
      {"(\x85", "nothing is left"},
      {"h\x07", "never remembered"},
      {"Nr\xff\xff\xff\x7f", "no such place"},
      {"Nq\x05h\x04", "never remembered"},
      {"}Na", "no container"},
      {"]NNs", "no container"},
      {"}(Nu", "key has no value"},
      {"(Nd", "key has no value"},
      {"N)R", "another kind"},
      {pickle::global("torch", "float32") + ")R", "no function"},
      {pickle::global("torch", "FloatStorage") + ")R", "another kind"},
      {pickle::global("torch", "Size") + ")R", "lacks its argument"},
      {pickle::global("torch", "Size") + "NR", "another kind"},
      {pickle::global("collections", "OrderedDict") + "(K\x01tR", "with arguments"},
      {"]Nb", "state is given"},
      {"NN\x93", "another kind"},
      {"\x80\x01N", "protocol 1"},
      {"\x80\x06N", "protocol 6"},
      {"I1\n", "opcode 73"},
      {"i", "opcode 105"},
  };
  for (const auto& [body, part] : cases)
    expect_error(legacy_file(body, {}), ErrorCode::bad_model, part);
  expect_error("\x80\x02X\xff\xff\xff\xff", ErrorCode::bad_model, "cut off");
  expect_error("\x80\x02\x8d" + std::string(8, '\xff'), ErrorCode::bad_model, "cut off");
  expect_error(
      "\x80\x02"
      "cos",
      ErrorCode::bad_model, "cut off");
}

TEST(TorchPickle, SurvivesCyclesAndDeepNesting) {
  // d = {}; d["self"] = d; d["list"] = [list itself]; nested tuples 200,000 deep.
  const std::string cyclic = "}q" + std::string(1, '\0') + "(" + pickle::text("self") + "h" +
                             std::string(1, '\0') + pickle::text("list") + "]q\x01h\x01" + "a" +
                             "u";
  expect_error(legacy_file(cyclic, {}), ErrorCode::bad_model, "no tensors");
  expect_error(legacy_file(")" + std::string(200'000, '\x85'), {}), ErrorCode::bad_model,
               "no tensors");
}

TEST(TorchPickle, BoundsTheNumberOfObjects) {
  expect_error(legacy_file("(" + std::string(1'100'000, 'N') + "t", {}), ErrorCode::too_large,
               "more than 1000000 objects");
  expect_error(legacy_file(std::string(1'100'000, '('), {}), ErrorCode::too_large, "objects");
}

TEST(TorchPickle, RefusesTensorsBeyondTheirStorage) {
  constexpr std::int64_t kHuge = std::numeric_limits<std::int64_t>::max();
  EXPECT_EQ(values(read(file_with({"0", 4, {2, 2}, {2, 1}})), "w", {2, 2}),
            (std::vector<float>{1, 2, 3, 4}));
  EXPECT_EQ(values(read(file_with({"0", 4, {1, 2}, {kHuge, 2}})), "w", {1, 2}),
            (std::vector<float>{1, 3}));
  const pickle::Tensor cases[] = {
      {"0", 4, {5}, {1}},
      {"0", 4, {4}, {1}, 1},
      {"0", 4, {2}, {4}},
      {"0", 4, {2, 2}, {kHuge, 1}},
      {"0", 4, {1}, {1}, kHuge},
      {"0", 4, {3}, {kHuge / 2 + 1}},
      {"0", 4, {kHuge}, {1}},
      {"0", 4, {kHuge / 4, 8}, {0, 0}},
      {"0", 4, {2}, {-1}, 1},
      {"0", 4, {-2}, {1}},
      {"0", 4, {2}, {1}, -1},
      {"0", 4, {2}, {1, 1}},
      {"0", 4, {2}, {}},
      {"0", 4, {2}, {1}, 0, "DoubleStorage"},
      {"0", 5, {2}, {1}},
      {"0", -1, {2}, {1}},
      {"1", 4, {2}, {1}},
      {"0", kHuge, {2}, {1}},
      {"0", 4, std::vector<std::int64_t>(17, 1), std::vector<std::int64_t>(17, 1)},
  };
  for (const pickle::Tensor& tensor : cases) {
    error_of(file_with(tensor), ErrorCode::bad_model);
  }
}

TEST(TorchPickle, RefusesExpandedTensorsThatWouldFillMemory) {
  expect_error(file_with({"0", 4, {1 << 20, 1 << 20}, {0, 0}}), ErrorCode::too_large,
               "more memory than the whole file");
  // Many small copies of one storage add up too.
  std::vector<std::pair<std::string, std::string>> entries;
  for (int i = 0; i < 100; ++i) {
    entries.emplace_back(std::to_string(i), pickle::tensor({"0", 4096, {64, 64}, {1, 64}}));
  }
  expect_error(legacy_file(pickle::dict(entries), {{"0", 4096, std::string(4 * 4096, '\0')}}),
               ErrorCode::too_large, "more memory");
}

TEST(TorchPickle, ReadsStorageViewsOfTheOlderForm) {
  const auto file = [](std::int64_t offset, std::int64_t count) {
    const std::string view =
        "(" + pickle::text("v") + pickle::integer(offset) + pickle::integer(count) + "t";
    const std::string tensor = pickle::global("torch._utils", "_rebuild_tensor") + "((" +
                               pickle::text("storage") + pickle::global("torch", "FloatStorage") +
                               pickle::text("0") + pickle::text("cpu") + pickle::integer(4) + view +
                               "tQ" + pickle::integer(0) + pickle::tuple({2}) + pickle::tuple({1}) +
                               "tR";
    std::string data;
    for (const float value : {1.0f, 2.0f, 3.0f, 4.0f}) data += little_endian(value);
    return legacy_file(pickle::dict({{"w", tensor}}), {{"0", 4, data}});
  };
  EXPECT_EQ(values(read(file(1, 3)), "w", {2}), (std::vector<float>{2, 3}));
  error_of(file(3, 1), ErrorCode::bad_model);
  error_of(file(3, 2), ErrorCode::bad_model);
  error_of(file(5, 0), ErrorCode::bad_model);
  error_of(file(-1, 2), ErrorCode::bad_model);
}

TEST(TorchPickle, RefusesStoragesThatContradict) {
  const std::string one = pickle::tensor({"0", 1, {1}, {1}});
  const std::string two = pickle::tensor({"0", 2, {1}, {1}});
  const std::string data(8, '\0');
  expect_error(legacy_file(pickle::dict({{"a", one}, {"b", two}}), {{"0", 1, data}}),
               ErrorCode::bad_model, "two types or sizes");
  expect_error(legacy_file(pickle::dict({{"a", one}}), {{"0", 2, data}}), ErrorCode::bad_model,
               "not of the size");
  expect_error(legacy_file(pickle::dict({{"a", one}}), {{"1", 1, data}}), ErrorCode::bad_model,
               "no tensor uses");
  expect_error(legacy_file(pickle::dict({{"a", one}}), {}), ErrorCode::bad_model, "missing");
  expect_error(legacy_file(pickle::dict({{"a", one}}), {{"0", 1, "abc"}}), ErrorCode::bad_model,
               "cut off");
  expect_error(legacy_file("NQ", {}), ErrorCode::bad_model, "not named in torch.save's way");
  expect_error(legacy_file("(K\x01tQ", {}), ErrorCode::bad_model, "not named");
}

TEST(TorchPickle, ReadsOnlyStoredLittleEndianZips) {
  const std::string object =
      pickle::whole(pickle::dict({{"w", pickle::tensor({"7", 1, {1}, {1}})}}));
  const std::vector<std::pair<std::string, std::string>> entries{
      {"any/data.pkl", object}, {"any/byteorder", "little"}, {"any/data/7", little_endian(2.5f)}};
  EXPECT_EQ(values(read(zip_file(entries)), "w", {1}), (std::vector<float>{2.5f}));
  EXPECT_EQ(values(read(zip_file(entries, {.zip64 = true})), "w", {1}), (std::vector<float>{2.5f}));
  expect_error(zip_file(entries, {.method = 8}), ErrorCode::unsupported, "compressed");
  auto big = entries;
  big[1].second = "big";
  expect_error(zip_file(big), ErrorCode::unsupported, "big-endian");
  auto short_storage = entries;
  short_storage[2].second = "abc";
  expect_error(zip_file(short_storage), ErrorCode::bad_model, "elements that holds 0");
  expect_error(zip_file({entries[1], entries[2]}), ErrorCode::bad_model, "no data.pkl");
  expect_error(zip_file({entries[0]}), ErrorCode::bad_model, "missing");
  expect_error(zip_file({entries[0], entries[0]}), ErrorCode::bad_model, "two entries");
  expect_error(zip_file(entries) + "x", ErrorCode::bad_model, "no directory");
  const std::string large = zip_file(entries, {.zip64 = true});
  for (std::size_t size = 0; size < large.size(); ++size) {
    EXPECT_THROW(read(large.substr(0, size)), Error) << size;
  }
}

/// Whatever happens to a file, the only outcomes are tensors and blip::Error.
void expect_no_surprise(const std::string& file) {
  try {
    const TensorStore store = read(file);
    for (const auto& [name, tensor] : store.tensors()) {
      ASSERT_EQ(tensor.bytes.size(), byte_count(tensor.dtype, tensor.shape)) << name;
    }
  } catch (const Error&) {
  }
}

TEST_P(TorchFile, SurvivesEveryCut) {
  const std::string whole = read_file(kData / GetParam(), 1 << 16);
  for (std::size_t size = 0; size < whole.size(); ++size) {
    EXPECT_THROW(read(whole.substr(0, size)), Error) << size;
  }
}

TEST_P(TorchFile, SurvivesChangedBytes) {
  std::string file = read_file(kData / GetParam(), 1 << 16);
  for (char& byte : file) {
    const char before = byte;
    for (const int change : {0x01, 0xff}) {
      byte = static_cast<char>(before ^ change);
      expect_no_surprise(file);
    }
    byte = before;
  }
}

}  // namespace
}  // namespace blip
