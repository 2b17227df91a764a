#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace blip {

/// One record of a CSV file (RFC 4180; a line end is \n or \r\n).
struct CsvRecord {
  std::vector<std::string> fields;
  std::size_t end = 0;   ///< where the next begins
  bool whole = true;     ///< no quote is left open
  bool newline = false;  ///< at its end
};

/// The record that begins at `at`, at most the text's size. Takes whatever comes.
CsvRecord csv_record_at(std::string_view text, std::size_t at);

/// `text` as a field in quotes.
std::string in_csv_quotes(std::string_view text);

}  // namespace blip
