#include <gtest/gtest.h>
#include <omp.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <limits>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "blip/base/context.h"
#include "blip/base/error.h"
#include "blip/base/file.h"
#include "blip/base/html.h"
#include "blip/base/idle_team.h"
#include "blip/base/json.h"
#include "blip/base/random.h"
#include "blip/base/tensor.h"

namespace blip {
namespace {

template <class Call>
Error error_of(Call call) {
  try {
    call();
  } catch (const Error& e) {
    return e;
  }
  ADD_FAILURE() << "no error";
  return Error(ErrorCode::internal, "");
}

// Errors

TEST(ErrorTable, GivesEveryCodeANameAndAStatus) {
  struct Row {
    ErrorCode code;
    int status;
    std::string_view name;
  };
  const Row rows[] = {
      {ErrorCode::usage, 2, "usage"},
      {ErrorCode::not_found, 3, "not_found"},
      {ErrorCode::io, 4, "io"},
      {ErrorCode::bad_model, 5, "bad_model"},
      {ErrorCode::unsupported, 6, "unsupported"},
      {ErrorCode::bad_image, 7, "bad_image"},
      {ErrorCode::too_large, 8, "too_large"},
      {ErrorCode::cancelled, 130, "cancelled"},
      {ErrorCode::internal, 70, "internal"},
  };
  for (const Row& row : rows) {
    EXPECT_EQ(exit_status(row.code), row.status);
    EXPECT_EQ(name(row.code), row.name);
  }
}

TEST(ErrorTable, CarriesCodeAndMessage) {
  const Error error(ErrorCode::io, "cannot read it");
  EXPECT_EQ(error.code(), ErrorCode::io);
  EXPECT_STREQ(error.what(), "cannot read it");
}

TEST(Quoted, EscapesWhatWouldGarbleAMessage) {
  EXPECT_EQ(in_quotes("plain"), "\"plain\"");
  EXPECT_EQ(in_quotes(""), "\"\"");
  EXPECT_EQ(in_quotes("a\"b\\c"), "\"a\\\"b\\\\c\"");
  EXPECT_EQ(in_quotes(std::string_view("\0\n\x1b\x7f", 4)), "\"\\x00\\x0a\\x1b\\x7f\"");
}

TEST(Quoted, KeepsUtf8AndEscapesTheRest) {
  const std::string good = "\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80";
  EXPECT_EQ(in_quotes(good), "\"" + good + "\"");
  EXPECT_EQ(in_quotes("\xff"), "\"\\xff\"");
  EXPECT_EQ(in_quotes("\x80"), "\"\\x80\"");
  EXPECT_EQ(in_quotes("\xc0\xaf"), "\"\\xc0\\xaf\"") << "overlong";
  EXPECT_EQ(in_quotes("\xe0\x80\x80"), "\"\\xe0\\x80\\x80\"") << "overlong";
  EXPECT_EQ(in_quotes("\xed\xa0\x80"), "\"\\xed\\xa0\\x80\"") << "surrogate";
  EXPECT_EQ(in_quotes("\xf4\x90\x80\x80"), "\"\\xf4\\x90\\x80\\x80\"") << "beyond U+10FFFF";
  EXPECT_EQ(in_quotes("\xe2\x82"), "\"\\xe2\\x82\"") << "cut off";
}

TEST(Quoted, CutsLongTextBetweenCharacters) {
  EXPECT_EQ(in_quotes(std::string(200, 'x')), "\"" + std::string(200, 'x') + "\"");
  EXPECT_EQ(in_quotes(std::string(201, 'x')), "\"" + std::string(200, 'x') + "...\"");
  const std::string cut = in_quotes(std::string(199, 'x') + "\xe2\x82\xac" + "y");
  EXPECT_EQ(cut, "\"" + std::string(199, 'x') + "\xe2\x82\xac...\"");
  EXPECT_NO_THROW(Json(cut).dump());
}

// JSON

std::string nested(std::size_t depth, char open, char close) {
  return std::string(depth, open) + std::string(depth, close);
}

TEST(ParseJson, KeepsTheOrderOfKeys) {
  const Json json = parse_json(R"({"z":1,"a":[true,null,"]}"]})", "test");
  EXPECT_EQ(json.dump(), R"({"z":1,"a":[true,null,"]}"]})");
}

TEST(ParseJson, NamesWhereItFailed) {
  for (const char* text : {"", "{", "[1,]", "{\"a\" 1}", "nul", "\"\xff\"", "[1] 2", "}"}) {
    const Error error = error_of([&] { parse_json(text, "some.json"); });
    EXPECT_EQ(error.code(), ErrorCode::bad_model);
    EXPECT_EQ(std::string(error.what()).rfind("some.json is not valid JSON", 0), 0u)
        << error.what();
  }
}

TEST(ParseJson, LimitsDepth) {
  EXPECT_NO_THROW(parse_json(nested(64, '[', ']'), "test"));
  for (const std::string& text : {nested(65, '[', ']'), std::string(1'000'000, '['),
                                  R"({"a":)" + nested(64, '[', ']') + "}"}) {
    const Error error = error_of([&] { parse_json(text, "test"); });
    EXPECT_EQ(error.code(), ErrorCode::bad_model);
    EXPECT_STREQ(error.what(), "test nests deeper than 64 levels");
  }
  EXPECT_NO_THROW(parse_json("\"" + std::string(100, '[') + "\\\"" + "[\"", "test"))
      << "brackets inside strings do not nest";
}

TEST(ParseJson, LimitsTheKeysOfOneObject) {
  const auto object = [](int keys) {
    std::string text = "{\"k\":0";
    for (int i = 1; i < keys; ++i) text += ",\"" + std::to_string(i) + "\":0";
    return text + "}";
  };
  EXPECT_EQ(parse_json(object(2000), "test").size(), 2000u);
  EXPECT_STREQ(error_of([&] { parse_json(object(50'000), "test"); }).what(),
               "test has objects with too many keys");
}

TEST(ParseJson, TakesLongArraysOfObjectsInLinearTime) {
  std::string text = "[{\"a\":1}";
  for (int i = 0; i < 200'000; ++i) text += ",{\"a\":1}";
  EXPECT_EQ(parse_json(text + "]", "test").size(), 200'001u);
}

// Files

class FileTest : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::temp_directory_path() /
              ("blip-base-" + std::to_string(::getpid()) + "-" +
               ::testing::UnitTest::GetInstance()->current_test_info()->name());
    std::filesystem::create_directories(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  std::filesystem::path write(const std::string& name, const std::string& content) const {
    std::ofstream(folder_ / name, std::ios::binary) << content;
    return folder_ / name;
  }
  std::size_t files() const {
    return static_cast<std::size_t>(
        std::distance(std::filesystem::directory_iterator(folder_), {}));
  }

  std::filesystem::path folder_;
};

TEST_F(FileTest, ReadFileGivesTheBytes) {
  const std::string content("a\0\r\n\xff", 5);
  EXPECT_EQ(read_file(write("f", content), 5), content);
  EXPECT_EQ(read_file(write("empty", ""), 0), "");
}

TEST_F(FileTest, ReadFileSaysWhatIsWrong) {
  const auto file = write("f", "12345");
  EXPECT_EQ(error_of([&] { read_file(file, 4); }).code(), ErrorCode::too_large);
  EXPECT_EQ(error_of([&] { read_file(folder_ / "none", 4); }).code(), ErrorCode::not_found);
  EXPECT_EQ(error_of([&] { read_file(file / "below", 4); }).code(), ErrorCode::not_found);
  EXPECT_EQ(error_of([&] { read_file(folder_, 4); }).code(), ErrorCode::io);
}

TEST_F(FileTest, ReadJsonNamesTheFile) {
  EXPECT_EQ(read_json(write("a.json", "[1]"))[0], 1);
  const auto bad = write("b.json", "[");
  EXPECT_NE(std::string(error_of([&] { read_json(bad); }).what()).find(bad.string()),
            std::string::npos);
}

TEST_F(FileTest, WriteFileReplacesTheWholeFile) {
  const auto file = write("f", "a long old content");
  write_file(file, [](std::ostream& out) { out << "new"; });
  EXPECT_EQ(read_file(file, 100), "new");
  write_file(folder_ / "other", [](std::ostream&) {});
  EXPECT_EQ(read_file(folder_ / "other", 100), "");
  EXPECT_EQ(files(), 2u);
}

TEST_F(FileTest, WriteFileLeavesTheOldFileOnFailure) {
  const auto file = write("f", "old");
  EXPECT_EQ(error_of([&] {
              write_file(file, [](std::ostream& out) {
                out << "half of the new";
                throw Error(ErrorCode::bad_image, "stop");
              });
            }).code(),
            ErrorCode::bad_image);
  EXPECT_EQ(error_of([&] {
              write_file(file, [](std::ostream& out) { out.setstate(std::ios::badbit); });
            }).code(),
            ErrorCode::io);
  EXPECT_EQ(read_file(file, 100), "old");
  EXPECT_EQ(files(), 1u);
}

TEST_F(FileTest, WriteFileReportsWhatItCannotReplace) {
  const auto write_to = [](const std::filesystem::path& file) {
    return error_of([&] { write_file(file, [](std::ostream& out) { out << "x"; }); }).code();
  };
  EXPECT_EQ(write_to(folder_ / "none" / "f"), ErrorCode::io);
  std::filesystem::create_directories(folder_ / "directory" / "inside");
  EXPECT_EQ(write_to(folder_ / "directory"), ErrorCode::io);
  EXPECT_EQ(files(), 1u);
}

TEST_F(FileTest, NewFolderAppearsWholeOrNotAtAll) {
  {
    const NewFolder left(folder_ / "a");
    EXPECT_EQ(left.path().parent_path(), folder_);
    EXPECT_EQ(files(), 1u);
  }
  EXPECT_EQ(files(), 0u);
  for (const char* name : {"a", "b/", "c/."}) NewFolder(folder_ / name).give_name();
  EXPECT_EQ(files(), 3u);
  NewFolder(folder_ / "a").give_name();
  write("c/f", "");
  EXPECT_EQ(error_of([&] { NewFolder(folder_ / "c"); }).code(), ErrorCode::usage);
  EXPECT_EQ(error_of([&] { NewFolder(folder_ / "none" / "d"); }).code(), ErrorCode::io);
  EXPECT_EQ(files(), 3u);
}

TEST_F(FileTest, MappedFileOutlivesItsName) {
  const auto file = write("f", "content");
  auto mapped = MappedFile::open(file);
  std::filesystem::remove(file);
  const auto bytes = mapped->bytes();
  EXPECT_EQ(std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size()), "content");
  EXPECT_EQ(mapped->path(), file);
  EXPECT_TRUE(MappedFile::open(write("empty", ""))->bytes().empty());
}

/// Pages of files in this process's memory.
long file_pages() {
  std::ifstream counts("/proc/self/statm");
  long size = 0, resident = 0, shared = 0;
  counts >> size >> resident >> shared;
  return shared;
}

TEST_F(FileTest, MappedFileGivesPagesBackAndHasThemAgain) {
  const std::string content(std::size_t{8} << 20, 'x');
  const auto mapped = MappedFile::open(write("big", content));
  const auto read = [&] {
    return std::ranges::all_of(mapped->bytes(), [](std::byte b) { return b == std::byte{'x'}; });
  };
  EXPECT_TRUE(read());
  const long before = file_pages();
  MappedFile::give_back(mapped->bytes().subspan(1));
  EXPECT_LT(file_pages(), before - 1000);
  EXPECT_TRUE(read());
  // What is of no file stays as it is.
  MappedFile::give_back(std::as_bytes(std::span(content)));
  EXPECT_EQ(content, std::string(content.size(), 'x'));
  MappedFile::give_back({});
}

TEST_F(FileTest, MappedFileSaysWhatIsWrong) {
  EXPECT_EQ(error_of([&] { MappedFile::open(folder_ / "none"); }).code(), ErrorCode::not_found);
  EXPECT_EQ(error_of([&] { MappedFile::open(folder_); }).code(), ErrorCode::io);
}

// Tensors

template <class T>
std::vector<float> converted(DType dtype, const std::vector<T>& values) {
  return to_f32({dtype,
                 {static_cast<std::int64_t>(values.size())},
                 std::as_bytes(std::span(values)),
                 nullptr});
}

/// The value of an IEEE number from its fields.
float decoded(std::uint32_t bits, int exponent_bits, int mantissa_bits) {
  const std::uint32_t mantissa = bits & ((1u << mantissa_bits) - 1);
  const std::uint32_t exponent = (bits >> mantissa_bits) & ((1u << exponent_bits) - 1);
  const bool negative = (bits >> (exponent_bits + mantissa_bits)) != 0;
  const int bias = (1 << (exponent_bits - 1)) - 1;
  double value = std::ldexp(mantissa, 1 - bias - mantissa_bits);
  if (exponent == (1u << exponent_bits) - 1) {
    value = mantissa == 0 ? std::numeric_limits<double>::infinity() : std::nan("");
  } else if (exponent != 0) {
    value = std::ldexp(mantissa + (1u << mantissa_bits),
                       static_cast<int>(exponent) - bias - mantissa_bits);
  }
  return static_cast<float>(negative ? -value : value);
}

void expect_all_16_bit_values(DType dtype, int exponent_bits, int mantissa_bits) {
  std::vector<std::uint16_t> bits(1 << 16);
  for (std::size_t i = 0; i < bits.size(); ++i) bits[i] = static_cast<std::uint16_t>(i);
  const std::vector<float> values = converted(dtype, bits);
  for (std::size_t i = 0; i < bits.size(); ++i) {
    const float expected = decoded(bits[i], exponent_bits, mantissa_bits);
    if (std::isnan(expected)) {
      ASSERT_TRUE(std::isnan(values[i])) << i;
    } else {
      ASSERT_EQ(std::bit_cast<std::uint32_t>(values[i]), std::bit_cast<std::uint32_t>(expected))
          << i;
    }
  }
}

TEST(ToF32, ConvertsEveryF16) {
  expect_all_16_bit_values(DType::f16, 5, 10);
}
TEST(ToF32, ConvertsEveryBf16) {
  expect_all_16_bit_values(DType::bf16, 8, 7);
}

TEST(ToF32, RoundsF64ToNearest) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  const std::vector<double> values{
      0.1, -0.0, 1 + 0x1p-24, 1 + 0x1.8p-23, 0x1p-149, 0x1p-151, -static_cast<double>(kInfinity),
      1e39};
  const std::vector<float> expected{0.1f,      -0.0f, 1,          1 + 0x1p-22f,
                                    0x1p-149f, 0,     -kInfinity, kInfinity};
  EXPECT_EQ(converted(DType::f64, values), expected);
  EXPECT_TRUE(std::signbit(converted(DType::f64, values)[1]));
  EXPECT_TRUE(std::isnan(converted(DType::f64, std::vector<double>{std::nan("")})[0]));
}

TEST(ToF32, ReadsBytesOfAnyAlignment) {
  std::array<std::byte, 9> bytes{};
  const double value = -2.5;
  std::memcpy(bytes.data() + 1, &value, sizeof value);
  const auto unaligned = std::span(bytes).subspan(1);
  EXPECT_EQ(to_f32({DType::f64, {}, unaligned, nullptr}), (std::vector<float>{-2.5f}));
  const float narrow = 7;
  std::memcpy(bytes.data() + 1, &narrow, sizeof narrow);
  EXPECT_EQ(to_f32({DType::f32, {1}, unaligned.first(4), nullptr}), (std::vector<float>{7}));
}

TEST(ToF32, TakesEmptyTensorsAndRefusesWholeNumbers) {
  EXPECT_TRUE(to_f32({DType::f32, {0, 3}, {}, nullptr}).empty());
  for (const DType dtype :
       {DType::i64, DType::i32, DType::i16, DType::i8, DType::u8, DType::boolean}) {
    EXPECT_EQ(error_of([&] { to_f32({dtype, {0}, {}, nullptr}); }).code(), ErrorCode::bad_model);
  }
}

TEST(DType, HasSafetensorsNamesAndSizes) {
  const std::pair<DType, std::pair<std::string_view, std::size_t>> rows[] = {
      {DType::f64, {"F64", 8}},      {DType::f32, {"F32", 4}}, {DType::f16, {"F16", 2}},
      {DType::bf16, {"BF16", 2}},    {DType::i64, {"I64", 8}}, {DType::i32, {"I32", 4}},
      {DType::i16, {"I16", 2}},      {DType::i8, {"I8", 1}},   {DType::u8, {"U8", 1}},
      {DType::boolean, {"BOOL", 1}},
  };
  for (const auto& [dtype, expected] : rows) {
    EXPECT_EQ(name(dtype), expected.first);
    EXPECT_EQ(size_of(dtype), expected.second);
  }
}

TEST(ShapeTest, PrintsAndMultiplies) {
  EXPECT_EQ(to_string(Shape{3, 64, 64}), "[3, 64, 64]");
  EXPECT_EQ(to_string(Shape{}), "[]");
  EXPECT_EQ(element_count({}), 1u);
  EXPECT_EQ(element_count({3, 4}), 12u);
  EXPECT_EQ(element_count({3, 0}), 0u);
}

TEST(TensorTest, IsAlignedAndSlicesItsFirstAxis) {
  Tensor tensor({3, 2, 2});
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(tensor.data()) % 64, 0u);
  EXPECT_EQ(tensor.size(), 12u);
  EXPECT_EQ(tensor.dim(1), 2);
  EXPECT_EQ(tensor[2].data(), tensor.data() + 8);
  EXPECT_EQ(tensor[2].size(), 4u);
  EXPECT_EQ(FloatBuffer(0).data(), nullptr);
}

TEST(WeightTest, SharesItsMemory) {
  auto values = std::make_shared<const std::vector<float>>(6, 1.5f);
  const Weight weight({2, 3}, values->data(), values);
  const Weight copy = weight;  // NOLINT(performance-unnecessary-copy-initialization)
  EXPECT_EQ(values.use_count(), 3);
  EXPECT_EQ(copy.data(), values->data());
  EXPECT_EQ(copy.span().size(), 6u);
  EXPECT_TRUE(Weight().empty());
  EXPECT_EQ(Weight().size(), 0u);
}

// Context and random numbers

TEST(ContextTest, ThrowsOnceStopIsAskedFor) {
  std::atomic<bool> stop{false};
  const Context context{.num_threads = 1, .stop = &stop};
  EXPECT_NO_THROW(context.check_stop());
  EXPECT_NO_THROW(Context().check_stop());
  stop = true;
  EXPECT_EQ(error_of([&] { context.check_stop(); }).code(), ErrorCode::cancelled);
}

TEST(ThreadScopeTest, SetsAndRestoresTheThreads) {
  omp_set_num_threads(5);
  {
    const ThreadScope three({.num_threads = 3});
    EXPECT_EQ(omp_get_max_threads(), 3);
    const ThreadScope all({.num_threads = 0});
    EXPECT_EQ(omp_get_max_threads(), available_cores());
  }
  EXPECT_EQ(omp_get_max_threads(), 5);
  EXPECT_GE(available_cores(), 1);
}

/// CPU time that the other thread of a region takes after its end, while it waits for the next one.
std::chrono::milliseconds spun_after_region() {
  const ThreadScope two({.num_threads = 2});
  std::atomic<int> ran{0};
#pragma omp parallel
  ++ran;
  EXPECT_EQ(ran, 2);
  const std::clock_t before = std::clock();  // of all threads
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  return std::chrono::milliseconds((std::clock() - before) * 1000 / CLOCKS_PER_SEC);
}

/// Whether waiting is libgomp's, and this machine's to see.
bool threads_spin() {
#ifdef __clang__
  return false;
#else
  return available_cores() == 2 && spun_after_region().count() >= 2;
#endif
}

TEST(IdleTeamTest, ThreadsThatWaitSleepWhileItLives) {
  if (!threads_spin()) GTEST_SKIP() << "needs libgomp, two cores, and time to spin on them";
  const IdleTeam team;
  EXPECT_LE(spun_after_region().count(), 1);
}

TEST(IdleTeamTest, ThereIsOneWhileOtherWorkTakesTheCores) {
  if (!threads_spin() || !std::ifstream("/proc/thread-self/schedstat")) {
    GTEST_SKIP() << "needs libgomp, two cores, time to spin on them, and the scheduler's figures";
  }
  std::atomic<bool> end{false};
  std::vector<std::thread> others;
  for (int i = 0; i < 6; ++i) {
    others.emplace_back([&end] {
      while (!end) yield_to_others();
    });
  }
  std::this_thread::sleep_for(std::chrono::milliseconds(500));
  end = true;
  for (std::thread& other : others) other.join();
  EXPECT_LE(spun_after_region().count(), 1);
}

TEST(RandomTest, GivesThePublishedSequence) {
  Random random(0);
  EXPECT_EQ(random.next(), 0xE220A8397B1DCDAFu);
  EXPECT_EQ(random.next(), 0x6E789E6AA1B965F4u);
  EXPECT_EQ(random.next(), 0x06C45D188009454Fu);
  double sum = 0;
  for (int i = 0; i < 1000; ++i) {
    const double u = random.uniform();
    ASSERT_GE(u, 0);
    ASSERT_LT(u, 1);
    sum += u;
  }
  EXPECT_NEAR(sum / 1000, 0.5, 0.05);
}

TEST(Html, TextStaysText) {
  EXPECT_EQ(escape_html("<a href='x'>\"&\"</a>"),
            "&lt;a href=&#39;x&#39;&gt;&quot;&amp;&quot;&lt;/a&gt;");
}

TEST(Html, DataUrisAreThoseOfRfc4648) {
  const std::pair<std::string, std::string> cases[] = {
      {"", ""}, {"f", "Zg=="}, {"fo", "Zm8="}, {"foo", "Zm9v"}, {"\xff\xfe\xfd", "//79"}};
  for (const auto& [bytes, text] : cases)
    EXPECT_EQ(data_uri("image/png", bytes), "data:image/png;base64," + text);
}

}  // namespace
}  // namespace blip
