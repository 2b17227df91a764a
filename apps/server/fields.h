#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "blip/base/json.h"
#include "blip/generation/generation_config.h"

namespace blip::server {

struct TextLimits {
  std::size_t count = 256;        ///< texts, questions or answers in a request
  std::size_t bytes = 64 * 1024;  ///< of each
};

/// The fields of a request. Every one that is read is taken out, so that what is left at the end
/// was not understood. Forms have texts only: numbers and "true" are told by what is asked for. All
/// throw Error{usage} naming the field and what was expected.
class Fields {
 public:
  /// Throws Error{usage} unless `object` is one; nulls count as absent.
  Fields(Json object, const TextLimits& limits);

  std::optional<std::string> text(const char* name);
  /// One text or an array of them; empty when absent.
  std::vector<std::string> texts(const char* name);
  std::optional<bool> flag(const char* name);
  std::optional<std::int64_t> integer(const char* name, std::int64_t least, std::int64_t most);
  std::optional<double> number(const char* name, double least, double most);
  /// One of `words`.
  std::optional<std::string> word(const char* name, std::initializer_list<const char*> words);
  /// Those of GenerationConfig's options that are there. Throws as check_sequences() too.
  void apply_to(GenerationConfig& config);
  /// Any other value as it is.
  Json take(const char* name);
  /// What was not taken yet.
  const Json& rest() const& { return object_; }
  Json rest() && { return std::move(object_); }
  /// Throws Error{usage} naming the first field that nobody asked for.
  void refuse_the_rest() const;

 private:
  Json object_;
  TextLimits limits_;
};

/// That a text has 1 to 16 beams and sequences. Throws Error{usage}, of more Error{too_large}.
void check_sequences(const GenerationConfig& config);

}  // namespace blip::server
