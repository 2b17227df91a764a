#include "apps/polish/polish.h"

#include <curl/curl.h>

#include <cmath>
#include <memory>
#include <mutex>

#include "blip/base/error.h"
#include "blip/base/json.h"

namespace blip {
namespace {

constexpr const char* kInstruction =
    "You are given a machine-made description of a picture. Rewrite it as fluent English prose. "
    "Keep "
    "every statement, add none, and drop repetitions. Answer with the rewritten description alone.";
constexpr std::size_t kMostBytes = std::size_t{1} << 20;
constexpr double kMostSeconds = 86400;

struct Answer {
  std::string body;
  bool too_large = false;
};

std::size_t take(char* data, std::size_t, std::size_t bytes, void* answer) {
  Answer& taken = *static_cast<Answer*>(answer);
  taken.too_large = bytes > kMostBytes - taken.body.size();
  if (taken.too_large) return 0;
  taken.body.append(data, bytes);
  return bytes;
}

/// curl asks about once a second, and whenever data comes.
int stopped(void* context, curl_off_t, curl_off_t, curl_off_t, curl_off_t) {
  const std::atomic<bool>* stop = static_cast<const Context*>(context)->stop;
  return stop != nullptr && stop->load(std::memory_order_relaxed) ? 1 : 0;
}

struct Cleanup {
  void operator()(CURL* curl) const { curl_easy_cleanup(curl); }
  void operator()(curl_slist* list) const { curl_slist_free_all(list); }
};
using Curl = std::unique_ptr<CURL, Cleanup>;
using Headers = std::unique_ptr<curl_slist, Cleanup>;

void add(Headers& headers, const std::string& line) {
  curl_slist* longer = curl_slist_append(headers.get(), line.c_str());
  if (longer == nullptr) throw std::bad_alloc();
  headers.release();
  headers.reset(longer);
}

std::string endpoint(const PolishService& service) {
  std::string url = service.url;
  while (url.ends_with('/')) url.pop_back();
  return url + "/chat/completions";
}

std::string request_body(const PolishService& service, const std::string& text) {
  const Json json = {
      {"model", service.model},
      {"temperature", 0},
      {"stream", false},
      {"messages",
       {{{"role", "system"}, {"content", kInstruction}}, {{"role", "user"}, {"content", text}}}}};
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

[[noreturn]] void fail(const PolishService& service, const std::string& why) {
  throw Error(ErrorCode::io, "the polishing service " + in_quotes(service.url) + " " + why);
}

/// The text of the first choice. Models that think aloud do so before "</think>".
std::string text_in(const std::string& body, const PolishService& service) {
  std::string text;
  try {
    text = parse_json(body, "the answer")
               .at("choices")
               .at(0)
               .at("message")
               .at("content")
               .get<std::string>();
  } catch (const std::exception&) {
    fail(service, "gave no answer of a chat: " + in_quotes(body));
  }
  constexpr std::string_view kThought = "</think>";
  const std::size_t thought = text.rfind(kThought);
  return thought == std::string::npos ? text : text.substr(thought + kThought.size());
}

void set_up(CURL* curl, const PolishService& service, const Context& context, Answer& answer) {
  curl_easy_setopt(curl, CURLOPT_URL, endpoint(service).c_str());
  curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, std::lround(std::ceil(service.seconds * 1000)));
  curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, &take);
  curl_easy_setopt(curl, CURLOPT_WRITEDATA, &answer);
  curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
  curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, &stopped);
  curl_easy_setopt(curl, CURLOPT_XFERINFODATA, &context);
}

}  // namespace

void validate(const PolishService& service) {
  if (!service.url.starts_with("http://") && !service.url.starts_with("https://")) {
    throw Error(ErrorCode::usage,
                "the URL of a polishing service must begin with http:// or https://, but is " +
                    in_quotes(service.url));
  }
  if (!(service.seconds > 0 && service.seconds <= kMostSeconds)) {
    throw Error(ErrorCode::usage,
                "the time for polishing must be above 0 and at most 86400 seconds");
  }
}

std::string polished(const PolishService& service, const std::string& text,
                     const Context& context) {
  validate(service);
  static std::once_flag once;
  std::call_once(once, [] { curl_global_init(CURL_GLOBAL_DEFAULT); });
  const Curl curl(curl_easy_init());
  if (curl == nullptr) throw std::bad_alloc();
  Answer answer;
  set_up(curl.get(), service, context, answer);
  Headers headers;
  add(headers, "Content-Type: application/json");
  if (!service.key.empty()) add(headers, "Authorization: Bearer " + service.key);
  curl_easy_setopt(curl.get(), CURLOPT_HTTPHEADER, headers.get());
  const std::string body = request_body(service, text);
  curl_easy_setopt(curl.get(), CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(body.size()));
  curl_easy_setopt(curl.get(), CURLOPT_POSTFIELDS, body.c_str());
  const CURLcode code = curl_easy_perform(curl.get());
  context.check_stop();
  if (answer.too_large) fail(service, "answered with more than 1 MiB");
  if (code == CURLE_OPERATION_TIMEDOUT) {
    std::string seconds = std::to_string(service.seconds);
    fail(service, "did not answer within " + seconds.substr(0, seconds.find('.') + 2) + " seconds");
  }
  if (code != CURLE_OK) fail(service, std::string("cannot be asked: ") + curl_easy_strerror(code));
  long status = 0;
  curl_easy_getinfo(curl.get(), CURLINFO_RESPONSE_CODE, &status);
  if (status != 200) fail(service, "answered with status " + std::to_string(status));
  return text_in(answer.body, service);
}

}  // namespace blip
