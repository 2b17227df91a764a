#include "blip/index/walk.h"

#include <faiss/impl/HNSW.h>

#include <algorithm>

namespace blip {
namespace {

bool is_farther(const Neighbour& a, const Neighbour& b) {
  return is_nearer(b, a);
}

/// The rows that `row` is linked to on `level`, followed by -1 where there are fewer than places.
std::span<const int> links(const faiss::HNSW& graph, std::uint32_t row, int level) {
  const std::size_t at = graph.offsets[row];
  const auto begin = static_cast<std::size_t>(graph.cum_nb_neighbors(level));
  const auto end = static_cast<std::size_t>(graph.cum_nb_neighbors(level + 1));
  return {graph.neighbors.data() + at + begin, end - begin};
}

}  // namespace

Walk::Walk(const faiss::HNSW& graph, const Codes& codes)
    : graph_(&graph),
      codes_(&codes),
      query_(codes.width()),
      visited_((graph.levels.size() + 63) / 64) {}

std::vector<Neighbour>& Walk::towards(const float* query, std::size_t ef) {
  query_.set(query);
  std::fill(visited_.begin(), visited_.end(), 0);
  open_.clear();
  found_.clear();
  const Neighbour start = descend();
  visit(start.row);
  offer(start, ef);
  while (!open_.empty()) {
    std::pop_heap(open_.begin(), open_.end(), is_farther);
    const Neighbour next = open_.back();
    open_.pop_back();
    if (found_.size() == ef && is_nearer(found_.front(), next)) break;
    prefetch_next();
    meet_neighbours(next.row);
    for (const std::uint32_t row : met_) offer(judge(row), ef);
  }
  return found_;
}

/// The nearest row of the upper levels, as far as following the nearest link leads.
Neighbour Walk::descend() const {
  Neighbour nearest = judge(static_cast<std::uint32_t>(graph_->entry_point));
  for (int level = graph_->max_level; level > 0; --level) {
    for (bool nearer = true; nearer;) {
      nearer = false;
      for (const int link : links(*graph_, nearest.row, level)) {
        if (link < 0) break;
        const Neighbour met = judge(static_cast<std::uint32_t>(link));
        if (met.similarity <= nearest.similarity) continue;
        nearest = met;
        nearer = true;
      }
    }
  }
  return nearest;
}

/// Whether `row` is visited for the first time.
bool Walk::visit(std::uint32_t row) {
  std::uint64_t& word = visited_[row / 64];
  const std::uint64_t bit = std::uint64_t{1} << row % 64;
  const bool first = (word & bit) == 0;
  word |= bit;
  return first;
}

void Walk::meet_neighbours(std::uint32_t row) {
  met_.clear();
  for (const int link : links(*graph_, row, 0)) {
    if (link < 0) break;
    const auto to = static_cast<std::uint32_t>(link);
    if (!visit(to)) continue;
    codes_->prefetch(to);
    met_.push_back(to);
  }
}

void Walk::offer(const Neighbour& met, std::size_t ef) {
  if (found_.size() == ef) {
    if (!is_nearer(met, found_.front())) return;
    std::pop_heap(found_.begin(), found_.end(), is_nearer);
    found_.back() = met;
  } else {
    found_.push_back(met);
  }
  std::push_heap(found_.begin(), found_.end(), is_nearer);
  open_.push_back(met);
  std::push_heap(open_.begin(), open_.end(), is_farther);
  __builtin_prefetch(&graph_->offsets[met.row]);
}

/// The row that will come next, if the neighbours of the one before it are no nearer.
void Walk::prefetch_next() const {
  if (open_.empty()) return;
  constexpr std::size_t kPerLine = 16;
  const std::span<const int> next = links(*graph_, open_.front().row, 0);
  for (std::size_t i = 0; i < next.size(); i += kPerLine) __builtin_prefetch(&next[i]);
}

}  // namespace blip
