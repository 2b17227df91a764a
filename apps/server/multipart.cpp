#include "apps/server/multipart.h"

#include <algorithm>
#include <cctype>
#include <cstddef>

#include "blip/base/error.h"

namespace blip::server {
namespace {

constexpr std::size_t kMostParts = 256;
constexpr std::size_t kMostHeaderBytes = 8192;
constexpr std::size_t kLongestBoundary = 70;  // RFC 2046

[[noreturn]] void fail(const std::string& what) {
  throw Error(ErrorCode::usage, "a multipart body " + what);
}

bool equal_ignoring_case(std::string_view a, std::string_view b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](char x, char y) {
    return std::tolower(static_cast<unsigned char>(x)) ==
           std::tolower(static_cast<unsigned char>(y));
  });
}

std::string_view trim(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

/// The value of a header's `; key=value` or `; key="value"`; empty when there is none.
std::string parameter(std::string_view header, std::string_view key) {
  std::size_t at = header.find(';');
  while (at < header.size()) {
    std::string_view rest = trim(header.substr(at + 1));
    const std::size_t equals = rest.find('=');
    if (equals == std::string_view::npos) return {};
    const std::string_view found = trim(rest.substr(0, equals));
    rest = trim(rest.substr(equals + 1));
    std::string value;
    std::size_t end = 0;
    if (rest.starts_with('"')) {
      for (end = 1; end < rest.size() && rest[end] != '"'; ++end) {
        if (rest[end] == '\\' && end + 1 < rest.size()) ++end;
        value.push_back(rest[end]);
      }
      end = rest.find(';', std::min(end, rest.size()));
    } else {
      end = rest.find(';');
      value = trim(rest.substr(0, end));
    }
    if (equal_ignoring_case(found, key)) return value;
    if (end == std::string_view::npos) return {};
    at = static_cast<std::size_t>(rest.data() - header.data()) + end;
  }
  return {};
}

void read_headers(std::string_view headers, Part& part) {
  bool disposition = false;
  while (!headers.empty()) {
    const std::size_t end = headers.find("\r\n");
    const std::string_view line = headers.substr(0, end);
    headers.remove_prefix(end == std::string_view::npos ? headers.size() : end + 2);
    const std::size_t colon = line.find(':');
    if (colon == std::string_view::npos) fail("has a part with a header line without a colon");
    const std::string_view key = trim(line.substr(0, colon));
    const std::string_view value = trim(line.substr(colon + 1));
    if (equal_ignoring_case(key, "Content-Disposition")) {
      part.name = parameter(value, "name");
      part.filename = parameter(value, "filename");
      disposition = true;
    } else if (equal_ignoring_case(key, "Content-Type")) {
      part.content_type = value;
    }
  }
  if (!disposition || part.name.empty()) fail("has a part without a name");
}

}  // namespace

std::string boundary_of(std::string_view content_type) {
  std::string boundary = parameter(content_type, "boundary");
  if (boundary.empty() || boundary.size() > kLongestBoundary) {
    throw Error(ErrorCode::usage, "multipart/form-data must name a boundary of 1 to 70 characters");
  }
  return boundary;
}

std::vector<Part> parse_multipart(std::string_view body, std::string_view boundary) {
  const std::string delimiter = "\r\n--" + std::string(boundary);
  // The first delimiter may stand at the very beginning, without its line break.
  std::size_t at;
  if (body.starts_with(std::string_view(delimiter).substr(2))) {
    at = delimiter.size() - 2;
  } else {
    at = body.find(delimiter);
    if (at == std::string_view::npos) fail("does not hold its boundary");
    at += delimiter.size();
  }
  std::vector<Part> parts;
  for (;;) {
    std::string_view rest = body.substr(at);
    if (rest.starts_with("--")) return parts;
    const std::size_t line_end = rest.find("\r\n");
    if (line_end == std::string_view::npos || !trim(rest.substr(0, line_end)).empty())
      fail("is cut short or has text behind a boundary");
    rest.remove_prefix(line_end);  // the line break may be the empty line after no headers
    const std::size_t headers_end = rest.substr(0, kMostHeaderBytes).find("\r\n\r\n");
    if (headers_end == std::string_view::npos) fail("has a part whose headers do not end");
    Part part;
    read_headers(headers_end == 0 ? std::string_view() : rest.substr(2, headers_end - 2), part);
    rest.remove_prefix(headers_end + 4);
    const std::size_t end = rest.find(delimiter);
    if (end == std::string_view::npos) fail("is cut short");
    part.body = rest.substr(0, end);
    if (parts.size() == kMostParts)
      fail("must have at most " + std::to_string(kMostParts) + " parts");
    parts.push_back(std::move(part));
    at = static_cast<std::size_t>(rest.data() - body.data()) + end + delimiter.size();
  }
}

}  // namespace blip::server
