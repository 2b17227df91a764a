#include "tests/golden/golden.h"

#include <openssl/evp.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>

#include "blip/base/error.h"
#include "blip/checkpoint/safetensors.h"

namespace blip::golden {
namespace {

/// A test whose body is a function, for cases that are found at run time.
class FunctionTest : public testing::Test {
 public:
  explicit FunctionTest(std::function<void()> body) : body_(std::move(body)) {}
  void TestBody() override { body_(); }

 private:
  std::function<void()> body_;
};

}  // namespace

const std::filesystem::path& root() {
  static const std::filesystem::path path = [] {
    const char* given = std::getenv("BLIP_GOLDEN_DIR");
    return std::filesystem::path(given != nullptr && *given != '\0' ? given : BLIP_GOLDEN_COPY);
  }();
  return path;
}

std::filesystem::path resolve(const std::filesystem::path& relative) {
  for (const std::filesystem::path& base : {root(), std::filesystem::path(BLIP_GOLDEN_COPY)}) {
    if (std::filesystem::exists(base / relative)) return base / relative;
  }
  throw Error(ErrorCode::not_found, relative.string() + " is neither in " + root().string() +
                                        " nor in " + BLIP_GOLDEN_COPY);
}

void add_test(const std::string& group, const std::string& name, std::function<void()> body) {
  testing::RegisterTest(
      group.c_str(), name.c_str(), nullptr, nullptr, __FILE__, __LINE__,
      [body = std::move(body)]() -> testing::Test* { return new FunctionTest(body); });
}

void add_tests_or_failure(const std::string& group, const std::string& name,
                          const std::function<void()>& add) {
  try {
    add();
  } catch (const std::exception& error) {
    add_test(group, name + ".unreadable", [why = std::string(error.what())] { FAIL() << why; });
  }
}

std::vector<std::filesystem::path> case_folders(const std::string& group) {
  std::vector<std::filesystem::path> found;
  if (!std::filesystem::is_directory(root() / group)) return found;
  for (const auto& entry : std::filesystem::directory_iterator(root() / group)) {
    if (std::filesystem::exists(entry.path() / "manifest.json")) found.push_back(entry.path());
  }
  std::sort(found.begin(), found.end());
  return found;
}

Tensors::Tensors(const std::filesystem::path& file) {
  read_safetensors(file, store_);
}

std::vector<std::string> Tensors::names() const {
  std::vector<std::string> names;
  for (const auto& [name, tensor] : store_.tensors()) names.push_back(name);
  return names;
}

const Shape& Tensors::shape(const std::string& name) const {
  const StoredTensor* tensor = store_.find(name);
  if (tensor == nullptr) throw Error(ErrorCode::bad_model, "no tensor " + name);
  return tensor->shape;
}

std::vector<float> Tensors::floats(const std::string& name) const {
  shape(name);
  return to_f32(*store_.find(name));
}

std::vector<int> Tensors::ints(const std::string& name) const {
  std::vector<int> out(element_count(shape(name)));
  const StoredTensor& tensor = *store_.find(name);
  if (tensor.dtype != DType::i64) throw Error(ErrorCode::bad_model, name + " is not int64");
  for (std::size_t i = 0; i < out.size(); ++i) {
    std::int64_t value;
    std::memcpy(&value, tensor.bytes.data() + 8 * i, 8);
    out[i] = static_cast<int>(value);
  }
  return out;
}

void expect_close(std::span<const float> got, std::span<const float> wanted, Tolerance tolerance,
                  const std::string& what) {
  ASSERT_EQ(got.size(), wanted.size()) << what;
  double worst = 0;
  std::size_t where = 0;
  for (std::size_t i = 0; i < got.size(); ++i) {
    if (got[i] == wanted[i]) continue;
    const double difference = std::fabs(double{got[i]} - double{wanted[i]});
    const double excess =
        difference / (tolerance.absolute + tolerance.relative * std::fabs(double{wanted[i]}));
    if (!(excess <= worst)) {
      worst = std::isnan(excess) ? INFINITY : excess;
      where = i;
    }
  }
  EXPECT_LE(worst, 1.0) << what << ": element " << where << " is " << got[where] << ", wanted "
                        << wanted[where];
}

std::string sha256(std::span<const std::byte> bytes) {
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned size = 0;
  EVP_Digest(bytes.data(), bytes.size(), digest, &size, EVP_sha256(), nullptr);
  std::string hex;
  for (unsigned i = 0; i < size; ++i) {
    constexpr char kDigits[] = "0123456789abcdef";
    hex += kDigits[digest[i] >> 4];
    hex += kDigits[digest[i] & 15];
  }
  return hex;
}

std::vector<int> unpadded(std::span<const int> ids, std::span<const int> mask) {
  if (mask.size() != ids.size()) throw Error(ErrorCode::bad_model, "ids and mask differ in size");
  std::vector<int> out;
  for (std::size_t i = 0; i < ids.size(); ++i) {
    if (mask[i] != 0) out.push_back(ids[i]);
  }
  return out;
}

}  // namespace blip::golden

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  using namespace blip::golden;
  add_tests_or_failure("A_tokenizer", "group", register_tokenizer);
  add_tests_or_failure("B_image", "group", register_images);
  add_tests_or_failure("C_hf", "group", register_forward);
  add_tests_or_failure("D_generate", "group", register_generation);
  add_tests_or_failure("E_original", "group", register_authors);
  add_tests_or_failure("F_real_shapes", "group", register_real_shapes);
  if (testing::UnitTest::GetInstance()->total_test_count() == 0) {
    std::fprintf(stderr, "no golden cases in %s\n", root().c_str());
    return 1;
  }
  return RUN_ALL_TESTS();
}
