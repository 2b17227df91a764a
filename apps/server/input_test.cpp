#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "apps/server/base64.h"
#include "apps/server/fields.h"
#include "apps/server/metrics.h"
#include "apps/server/multipart.h"
#include "apps/server/router.h"
#include "apps/server/task_input.h"
#include "blip/base/error.h"

namespace blip::server {
namespace {

TEST(Base64, DecodesEveryLengthInBothAlphabets) {
  EXPECT_EQ(decode_base64(""), "");
  EXPECT_EQ(decode_base64("Zg=="), "f");
  EXPECT_EQ(decode_base64("Zg"), "f");
  EXPECT_EQ(decode_base64("Zm8="), "fo");
  EXPECT_EQ(decode_base64("Zm9v"), "foo");
  EXPECT_EQ(decode_base64("Zm9v\r\nYg ==\n"), "foob");
  EXPECT_EQ(decode_base64("-_-_"), decode_base64("+/+/"));
  EXPECT_EQ(decode_base64("AAD/"), std::string("\0\0\xff", 3));
}

TEST(Base64, RefusesWhatIsNone) {
  for (const char* text :
       {"Z", "Zm9vY", "Zg=", "Zg===", "Zm9v=", "=", "Zg==Zg==", "Zm9*", "\xff\xff"})
    EXPECT_THROW(decode_base64(text), Error) << text;
  EXPECT_EQ(decode_data_uri("data:image/png;base64,Zm9v"), "foo");
  for (const char* text :
       {"data:image/png,Zm9v", "data:", "http://example.org/a.png", "file:///etc/passwd"})
    EXPECT_THROW(decode_data_uri(text), Error) << text;
}

std::string part(const std::string& headers, const std::string& body) {
  return "--x\r\n" + headers + "\r\n\r\n" + body + "\r\n";
}

TEST(Multipart, ReadsFieldsAndFiles) {
  const std::string body = "a preamble\r\n" +
                           part("Content-Disposition: form-data; name=\"a\"", "1\r\n2") +
                           part(
                               "content-type: image/png\r\ncontent-disposition: form-data; "
                               "filename=\"a;\\\"b.png\"; name=image",
                               std::string("\0--x\r\n-", 7)) +
                           part("Content-Disposition: form-data; name=e", "") + "--x--\r\n";
  const std::vector<Part> parts = parse_multipart(body, "x");
  ASSERT_EQ(parts.size(), 3u);
  EXPECT_EQ(parts[0].name, "a");
  EXPECT_EQ(parts[0].filename, "");
  EXPECT_EQ(parts[0].body, "1\r\n2");
  EXPECT_EQ(parts[1].name, "image");
  EXPECT_EQ(parts[1].filename, "a;\"b.png");
  EXPECT_EQ(parts[1].content_type, "image/png");
  EXPECT_EQ(parts[1].body, std::string("\0--x\r\n-", 7));
  EXPECT_EQ(parts[2].body, "");
  EXPECT_TRUE(parse_multipart("--x--", "x").empty());
}

TEST(Multipart, RefusesWhatIsCutShortOrMalformed) {
  const std::string whole = part("Content-Disposition: form-data; name=\"a\"", "12") + "--x--";
  EXPECT_EQ(parse_multipart(whole, "x").size(), 1u);
  for (std::size_t size = 0; size < whole.size(); ++size)
    EXPECT_THROW(parse_multipart(whole.substr(0, size), "x"), Error) << size;
  EXPECT_THROW(parse_multipart(part("Content-Type: a", "1") + "--x--", "x"), Error);
  EXPECT_THROW(parse_multipart(part("no colon", "1") + "--x--", "x"), Error);
  EXPECT_THROW(parse_multipart("--x\r\n\r\n\r\n1\r\n--x--", "x"), Error);
  EXPECT_THROW(parse_multipart(part("A: " + std::string(10000, 'a'), "1") + "--x--", "x"), Error);
  std::string many;
  for (int i = 0; i < 257; ++i) many += part("Content-Disposition: form-data; name=a", "");
  EXPECT_THROW(parse_multipart(many + "--x--", "x"), Error);
}

TEST(Multipart, FindsTheBoundary) {
  EXPECT_EQ(boundary_of("multipart/form-data; boundary=abc"), "abc");
  EXPECT_EQ(boundary_of("multipart/form-data; charset=utf-8; Boundary=\"a b\""), "a b");
  EXPECT_THROW(boundary_of("multipart/form-data"), Error);
  EXPECT_THROW(boundary_of("multipart/form-data; boundary="), Error);
  EXPECT_THROW(boundary_of("multipart/form-data; boundary=" + std::string(71, 'a')), Error);
}

TEST(TaskInput, TakesPicturesAndFieldsFromEachWayIn) {
  TaskInput input =
      read_task_input("application/json", "b=2&a=3", R"({"image":"Zm9v","images":["YmFy"],"a":1})");
  EXPECT_EQ(input.images, (std::vector<std::string>{"foo", "bar"}));
  EXPECT_EQ(input.fields, (Json{{"a", 1}, {"b", "2"}}));
  input = read_task_input("application/octet-stream", "a=%41+b&a=c", "bytes");
  EXPECT_EQ(input.images, std::vector<std::string>{"bytes"});
  EXPECT_EQ(input.fields["a"], (Json{"A b", "c"}));
  input = read_task_input("application/x-www-form-urlencoded", "", "image=Zm9v&a=1");
  EXPECT_EQ(input.images, std::vector<std::string>{"foo"});
  EXPECT_EQ(input.fields, (Json{{"a", "1"}}));
  EXPECT_TRUE(read_task_input("", "", "").images.empty());
  EXPECT_EQ(read_task_input("image/png", "", "").images, std::vector<std::string>{""});
  for (const char* query : {"a=%", "a=%4", "a=%4g"})
    EXPECT_THROW(read_task_input("", query, ""), Error) << query;
  for (const char* json : {"", "[]", "3", "{\"image\":3}", "{\"image\":[[]]}", "{\"a\":\"\xff\"}"})
    EXPECT_THROW(read_task_input("application/json", "", json), Error) << json;
}

TEST(Fields, TellsTypesOfFormsAndOfJson) {
  Fields fields(Json{{"t", "x"},
                     {"n", nullptr},
                     {"f", "true"},
                     {"g", false},
                     {"i", "-3"},
                     {"j", 4},
                     {"d", "0.5"},
                     {"e", 2},
                     {"w", "one"},
                     {"s", {"a", "b"}},
                     {"s1", "c"}},
                {});
  EXPECT_EQ(fields.text("t"), "x");
  EXPECT_EQ(fields.text("n"), std::nullopt);
  EXPECT_EQ(fields.flag("f"), true);
  EXPECT_EQ(fields.flag("g"), false);
  EXPECT_EQ(fields.integer("i", -5, 5), -3);
  EXPECT_EQ(fields.integer("j", -5, 5), 4);
  EXPECT_EQ(fields.number("d", 0, 1), 0.5);
  EXPECT_EQ(fields.number("e", 0, 2), 2.0);
  EXPECT_EQ(fields.word("w", {"one", "two"}), "one");
  EXPECT_EQ(fields.texts("s"), (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(fields.texts("s1"), std::vector<std::string>{"c"});
  EXPECT_TRUE(fields.texts("none").empty());
  fields.refuse_the_rest();
}

TEST(Fields, RefusesOtherTypesAndRanges) {
  const auto refused = [](Json value, auto read) {
    Fields fields(Json{{"x", std::move(value)}}, {.count = 2, .bytes = 4});
    EXPECT_THROW(read(fields), Error);
  };
  const auto integer = [](Fields& f) { f.integer("x", 0, 10); };
  for (const Json& value :
       {Json(11), Json(-1), Json(1.5), Json("1x"), Json(true), Json("9999999999999999999"),
        Json(18446744073709551615u), Json::array({1}), Json("")})
    refused(value, integer);
  for (const Json& value : {Json("nan"), Json("1e999"), Json("x"), Json(2)})
    refused(value, [](Fields& f) { f.number("x", 0, 1); });
  for (const Json& value : {Json("maybe"), Json(2), Json::object()})
    refused(value, [](Fields& f) { f.flag("x"); });
  refused("12345", [](Fields& f) { f.text("x"); });
  refused(3, [](Fields& f) { f.text("x"); });
  refused({"a", "b", "c"}, [](Fields& f) { f.texts("x"); });
  refused({"a", 1}, [](Fields& f) { f.texts("x"); });
  refused({"a", nullptr}, [](Fields& f) { f.texts("x"); });
  refused("three", [](Fields& f) { f.word("x", {"one", "two"}); });
  refused(1, [](Fields& f) { f.refuse_the_rest(); });
  EXPECT_THROW(Fields(Json::array(), {}), Error);
}

TEST(Fields, GenerationOptionsComeByTheirNames) {
  GenerationConfig config;
  config.max_new_tokens = 5;
  Fields fields(Json{{"num_beams", "4"}, {"do_sample", "true"}, {"max_length", 30}, {"top_p", 1}},
                {});
  fields.apply_to(config);
  fields.refuse_the_rest();
  EXPECT_EQ(config.num_beams, 4);
  EXPECT_TRUE(config.do_sample);
  EXPECT_EQ(config.max_length, 30);
  EXPECT_EQ(config.max_new_tokens, std::nullopt);
  for (const Json& wrong : {Json{{"num_beams", "many"}}, Json{{"num_beams", 17}},
                            Json{{"top_p", "x"}}, Json{{"num_return_sequences", 1000}}}) {
    Fields other(wrong, {});
    EXPECT_THROW(other.apply_to(config), Error) << wrong;
  }
}

TEST(Router, FindsPatternsAndTellsWhatIsAllowed) {
  Router router;
  router.at_once("GET", "/", {});
  router.at_once("GET", "/v2/models/{model}/ready", {});
  router.work("POST", "/v2/models/{model}/infer", {});
  EXPECT_NE(router.find("GET", "/").route, nullptr);
  EXPECT_NE(router.find("HEAD", "/").route, nullptr);
  EXPECT_EQ(router.find("GET", "/v2/models/a%20b/ready").captures, Captures{"a%20b"});
  EXPECT_EQ(router.find("GET", "/v2/models/a/infer").allowed, "POST");
  for (const char* path :
       {"", "//", "/v2", "/v2/models//ready", "/v2/models/a/ready/x", "/v2/models/a/b/ready"}) {
    const Router::Found found = router.find("GET", path);
    EXPECT_TRUE(found.route == nullptr && found.allowed.empty()) << path;
  }
}

TEST(Metrics, CountsByRouteAndStatus) {
  Metrics metrics;
  metrics.count("/a", 200, 0.02);
  metrics.count("/a", 200, 500);
  metrics.count("/a", 404, 0);
  const std::string text = metrics.text();
  for (const char* line : {"blip_requests_total{route=\"/a\",status=\"200\"} 2\n",
                           "blip_request_seconds_bucket{route=\"/a\",le=\"0.01\"} 1\n",
                           "blip_request_seconds_bucket{route=\"/a\",le=\"0.03\"} 2\n",
                           "blip_request_seconds_bucket{route=\"/a\",le=\"+Inf\"} 3\n",
                           "blip_request_seconds_sum{route=\"/a\"} 500.02\n"})
    EXPECT_NE(text.find(line), std::string::npos) << line << text;
}

TEST(TaskInput, TypesAreInAnyCase) {
  EXPECT_TRUE(is_of_type("Application/JSON; charset=utf-8", "application/json"));
  EXPECT_FALSE(is_of_type("application/jsonp", "application/json"));
  EXPECT_FALSE(is_of_type("", "application/json"));
  EXPECT_EQ(read_task_input("APPLICATION/json", "", "{\"a\": 1}").fields["a"], 1);
}

TEST(TaskInput, CountsWhatWouldTakeMuchMemory) {
  std::string query, json = "[0";
  for (int i = 0; i < 1001; ++i) query += "a&";
  for (int i = 0; i < 100'000; ++i) json += ",0";
  EXPECT_THROW(parse_query(query), Error);
  EXPECT_EQ(parse_query(query.substr(2))["a"].size(), 1000u);
  EXPECT_THROW(parse_request_json(json + "]"), Error);
  const std::string commas = "[\"\\\"" + std::string(200'000, ',') + "\"]";
  EXPECT_EQ(parse_request_json(commas).size(), 1u);
}

TEST(Fields, TextsHaveOneSequenceToSixteen) {
  GenerationConfig config;
  for (const int number : {-1, 0, 17}) {
    for (const char* name : {"num_beams", "num_return_sequences"})
      EXPECT_THROW(Fields({{name, number}}, {}).apply_to(config), Error) << name << number;
  }
  Fields({{"num_beams", 16}, {"num_return_sequences", "1"}}, {}).apply_to(config);
}

}  // namespace
}  // namespace blip::server
