#pragma once

#include <atomic>
#include <cstddef>
#include <exception>

namespace blip {

/// Whether a piece of work of about so many multiply-adds is worth a parallel region. Where the
/// threads must wait for a core, beside another busy program, each region can cost a scheduler's
/// time slice, so small models had better not have any.
inline bool worth_threads(std::size_t multiply_adds) {
  return multiply_adds > 262144;
}

/// Keeps the first exception of a parallel region, which none may leave.
class RegionError {
 public:
  template <class Work>
  void guard(const Work& work) {
    try {
      work();
    } catch (...) {
      if (!failed_.exchange(true)) error_ = std::current_exception();
    }
  }
  bool failed() const { return failed_; }
  /// After the region: throws what was kept.
  void rethrow() const {
    if (error_) std::rethrow_exception(error_);
  }

 private:
  std::atomic<bool> failed_{false};
  std::exception_ptr error_;
};

}  // namespace blip
