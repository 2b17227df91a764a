#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <ostream>
#include <span>
#include <string_view>
#include <vector>

#include "blip/base/context.h"
#include "blip/base/file.h"
#include "blip/index/rows.h"
#include "blip/index/scan.h"
#include "blip/ops/dot.h"

namespace blip {

class Codes;

/// A vector in 16 bits a value, to be compared with codes.
struct CodeQuery {
  explicit CodeQuery(std::size_t width) : values(width) {}
  /// `vector` [values.size()]
  void set(const float* vector);
  /// What the code of a row stands for.
  void set(const Codes& codes, std::size_t row);

  std::vector<std::int16_t> values;
  float scale = 0;
};

/// Vectors in 8 bits a value, each with a scale of its own. A walk through a graph waits for memory
/// most of the time, and codes are a quarter of it; what it finds is judged again by the vectors.
/// Immutable and safe to share between threads.
class Codes {
 public:
  Codes() = default;
  /// In memory: for indexes that have no file of codes, and tests. Throws Error{cancelled}.
  static Codes of(const VectorView& vectors, const Context& context = {});
  /// What of() makes, as a file holds it: values [count, width] i8, scales [count] f32.
  static void write(std::ostream& out, const VectorView& vectors, const Context& context);
  /// Codes in mapped memory. Any values can be searched. Throws Error{io} unless the file has the
  /// size of `rows` codes.
  static Codes parse(std::shared_ptr<const MappedFile> file, std::size_t rows, std::size_t width);
  /// The same on bytes in memory, which must outlive the codes.
  static Codes parse(std::span<const std::byte> bytes, std::size_t rows, std::size_t width,
                     std::string_view where);

  std::size_t count() const { return scales_.size(); }
  std::size_t width() const { return width_; }
  const std::int8_t* operator[](std::size_t row) const { return values_ + row * width_; }
  float scale(std::size_t row) const { return scales_[row]; }

  /// Near to the inner product; what is no number is near to nothing.
  float similarity(const CodeQuery& query, std::size_t row) const;
  /// Asks the memory for a code that will be needed.
  void prefetch(std::size_t row) const;

 private:
  std::size_t width_ = 0;
  const std::int8_t* values_ = nullptr;
  std::span<const float> scales_;
  CodeProduct product_ = nullptr;
  std::shared_ptr<const void> owner_;
};

/// Rows to find neighbours among.
struct CodedRows {
  VectorView vectors;
  const Codes& codes;        ///< of the same rows
  const RowMarks& left_out;  ///< not to be found
};

/// The nearest `k` of candidates that codes have found near, nearest first, as their vectors tell.
/// Fewer when there are fewer. `candidates` are put in another order.
std::vector<Neighbour> judge(const CodedRows& rows, const float* query,
                             std::vector<Neighbour>& candidates, std::size_t k);

}  // namespace blip
