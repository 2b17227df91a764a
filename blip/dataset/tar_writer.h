#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

namespace blip {

/// Writes a plain tar from front to back. The same files give the same bytes: times and owners are
/// 0. It is whole only after finish(): write to a temporary name and rename.
class TarWriter {
 public:
  /// Begins `file`, over what is there. Throws Error{io}.
  explicit TarWriter(const std::filesystem::path& file);
  TarWriter(TarWriter&&) noexcept;
  TarWriter& operator=(TarWriter&&) noexcept;
  ~TarWriter();

  /// Throws Error{io}.
  void add(const std::string& name, std::string_view content);
  /// Throws Error{io}.
  void finish();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace blip
