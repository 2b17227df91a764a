#include "apps/polish/polish.h"

#include <curl/curl.h>
#include <dlfcn.h>

#include <cmath>
#include <memory>

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

/// libcurl, loaded when it is first asked for: with the thirty libraries that it brings along it
/// would double the time in which the command starts. Throws Error{unsupported} where it is not
/// installed.
class CurlLibrary {
 public:
  static const CurlLibrary& loaded() {
    static const CurlLibrary library;
    return library;
  }

  decltype(&curl_easy_init) easy_init = load<decltype(&curl_easy_init)>("curl_easy_init");
  decltype(&curl_easy_cleanup) easy_cleanup =
      load<decltype(&curl_easy_cleanup)>("curl_easy_cleanup");
  decltype(&curl_easy_setopt) easy_setopt = load<decltype(&curl_easy_setopt)>("curl_easy_setopt");
  decltype(&curl_easy_perform) easy_perform =
      load<decltype(&curl_easy_perform)>("curl_easy_perform");
  decltype(&curl_easy_getinfo) easy_getinfo =
      load<decltype(&curl_easy_getinfo)>("curl_easy_getinfo");
  decltype(&curl_easy_strerror) easy_strerror =
      load<decltype(&curl_easy_strerror)>("curl_easy_strerror");
  decltype(&curl_slist_append) slist_append =
      load<decltype(&curl_slist_append)>("curl_slist_append");
  decltype(&curl_slist_free_all) slist_free_all =
      load<decltype(&curl_slist_free_all)>("curl_slist_free_all");

 private:
  CurlLibrary() { load<decltype(&curl_global_init)>("curl_global_init")(CURL_GLOBAL_DEFAULT); }

  template <class Function>
  static Function load(const char* name) {
    static void* const library = dlopen("libcurl.so.4", RTLD_NOW | RTLD_LOCAL);
    void* const function = library != nullptr ? dlsym(library, name) : nullptr;
    if (function == nullptr) {
      throw Error(ErrorCode::unsupported,
                  std::string("polishing needs libcurl (Debian: libcurl4): ") + dlerror());
    }
    return reinterpret_cast<Function>(function);
  }
};

struct Cleanup {
  void operator()(CURL* curl) const { CurlLibrary::loaded().easy_cleanup(curl); }
  void operator()(curl_slist* list) const { CurlLibrary::loaded().slist_free_all(list); }
};
using Curl = std::unique_ptr<CURL, Cleanup>;
using Headers = std::unique_ptr<curl_slist, Cleanup>;

void add(Headers& headers, const std::string& line) {
  curl_slist* longer = CurlLibrary::loaded().slist_append(headers.get(), line.c_str());
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
  return dump(json);
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
  const auto set = CurlLibrary::loaded().easy_setopt;
  set(curl, CURLOPT_URL, endpoint(service).c_str());
  set(curl, CURLOPT_PROTOCOLS_STR, "http,https");
  set(curl, CURLOPT_NOSIGNAL, 1L);
  set(curl, CURLOPT_TIMEOUT_MS, std::lround(std::ceil(service.seconds * 1000)));
  set(curl, CURLOPT_WRITEFUNCTION, &take);
  set(curl, CURLOPT_WRITEDATA, &answer);
  set(curl, CURLOPT_NOPROGRESS, 0L);
  set(curl, CURLOPT_XFERINFOFUNCTION, &stopped);
  set(curl, CURLOPT_XFERINFODATA, &context);
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
  const CurlLibrary& library = CurlLibrary::loaded();
  const Curl curl(library.easy_init());
  if (curl == nullptr) throw std::bad_alloc();
  Answer answer;
  set_up(curl.get(), service, context, answer);
  Headers headers;
  add(headers, "Content-Type: application/json");
  if (!service.key.empty()) add(headers, "Authorization: Bearer " + service.key);
  library.easy_setopt(curl.get(), CURLOPT_HTTPHEADER, headers.get());
  const std::string body = request_body(service, text);
  library.easy_setopt(curl.get(), CURLOPT_POSTFIELDSIZE_LARGE,
                      static_cast<curl_off_t>(body.size()));
  library.easy_setopt(curl.get(), CURLOPT_POSTFIELDS, body.c_str());
  const CURLcode code = library.easy_perform(curl.get());
  context.check_stop();
  if (answer.too_large) fail(service, "answered with more than 1 MiB");
  if (code == CURLE_OPERATION_TIMEDOUT) {
    std::string seconds = std::to_string(service.seconds);
    fail(service, "did not answer within " + seconds.substr(0, seconds.find('.') + 2) + " seconds");
  }
  if (code != CURLE_OK)
    fail(service, std::string("cannot be asked: ") + library.easy_strerror(code));
  long status = 0;
  library.easy_getinfo(curl.get(), CURLINFO_RESPONSE_CODE, &status);
  if (status != 200) fail(service, "answered with status " + std::to_string(status));
  return text_in(answer.body, service);
}

}  // namespace blip
