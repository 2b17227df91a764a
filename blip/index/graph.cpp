#include "blip/index/graph.h"

#include <faiss/impl/AuxIndexStructures.h>
#include <faiss/impl/DistanceComputer.h>
#include <faiss/impl/HNSW.h>
#include <omp.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>

#include "blip/base/error.h"
#include "blip/base/random.h"
#include "blip/index/parallel.h"
#include "blip/index/walk.h"

namespace blip {
namespace {

constexpr int kLinks = 32;           // of a row on the upper levels; twice as many on the lowest
constexpr int kEfConstruction = 40;  // candidates kept while a row's neighbours are looked for

struct Header {
  char magic[8];
  std::uint32_t version;
  std::uint32_t links;
  std::uint64_t rows;
  std::int32_t entry_point;  // -1: no row is linked yet
  std::int32_t max_level;
  std::uint64_t neighbours;
};
constexpr char kMagic[8] = {'B', 'L', 'I', 'P', 'H', 'N', 'S', 'W'};

/// Negated inner products of codes: faiss looks for what is least. Debian's faiss is built for the
/// oldest x86-64, where its own distances take ten times as long as these.
class CodeDistances final : public faiss::DistanceComputer {
 public:
  explicit CodeDistances(const Codes& codes)
      : codes_(codes), query_(codes.width()), other_(codes.width()) {}

  void set_query(std::size_t row) { query_.set(codes_, row); }
  void set_query(const float*) override {}  // rows are inserted, and have codes
  float operator()(idx_t i) override { return -codes_.similarity(query_, index(i)); }
  /// faiss compares one row, its second argument, with several.
  float symmetric_dis(idx_t i, idx_t j) override {
    if (j != row_of_other_) other_.set(codes_, index(j));
    row_of_other_ = j;
    return -codes_.similarity(other_, index(i));
  }

 private:
  static std::size_t index(idx_t i) { return static_cast<std::size_t>(i); }

  const Codes& codes_;
  CodeQuery query_, other_;
  idx_t row_of_other_ = -1;
};

class Locks {
 public:
  explicit Locks(std::size_t count) : locks_(count) {
    for (omp_lock_t& lock : locks_) omp_init_lock(&lock);
  }
  ~Locks() {
    for (omp_lock_t& lock : locks_) omp_destroy_lock(&lock);
  }
  Locks(const Locks&) = delete;
  Locks& operator=(const Locks&) = delete;

  std::vector<omp_lock_t>& get() { return locks_; }

 private:
  std::vector<omp_lock_t> locks_;
};

/// The number of levels that a row is on: geometric, as the paper has it, and the same each time.
int levels_of(std::size_t row, std::size_t most) {
  Random random(row);
  const double level = -std::log(1.0 - random.uniform()) / std::log(double{kLinks});
  return 1 + static_cast<int>(std::min(level, static_cast<double>(most - 1)));
}

/// What a thread needs to insert rows.
struct Inserter {
  Inserter(const Codes& codes, std::size_t rows)
      : visited(static_cast<int>(rows)), distances(codes) {}

  faiss::VisitedTable visited;
  CodeDistances distances;
};

template <class T>
std::span<const std::byte> bytes_of(const std::vector<T>& values) {
  return std::as_bytes(std::span(values));
}

void write_bytes(std::ostream& out, std::span<const std::byte> bytes) {
  out.write(reinterpret_cast<const char*>(bytes.data()),
            static_cast<std::streamsize>(bytes.size()));
}

/// Places for the links of the last `rows` rows, whose levels are set; `neighbours` in all.
void prepare(faiss::HNSW& hnsw, std::size_t rows, std::size_t neighbours) {
  hnsw.offsets.reserve(hnsw.offsets.size() + rows);
  hnsw.neighbors.reserve(neighbours);
  hnsw.prepare_level_tab(rows, true);
}

/// Why a graph would lead a walk astray; empty when it does not.
std::string fault_of(const faiss::HNSW& hnsw) {
  const auto rows = static_cast<int>(hnsw.levels.size());
  if (rows == 0 || hnsw.entry_point == -1) {
    return hnsw.entry_point == -1 && hnsw.max_level == -1 ? "" : "an entry without rows";
  }
  if (hnsw.entry_point < 0 || hnsw.entry_point >= rows ||
      hnsw.levels[static_cast<std::size_t>(hnsw.entry_point)] != hnsw.max_level + 1) {
    return "an entry that is not there";
  }
  for (int row = 0; row < rows; ++row) {
    for (int level = 0; level < hnsw.levels[static_cast<std::size_t>(row)]; ++level) {
      std::size_t begin, end;
      hnsw.neighbor_range(row, level, &begin, &end);
      for (std::size_t i = begin; i < end; ++i) {
        const int to = hnsw.neighbors[i];
        // A row that is not on this level has no links there to go on with.
        if (to < -1 || to >= rows ||
            (level > 0 && to >= 0 && hnsw.levels[static_cast<std::size_t>(to)] <= level)) {
          return "a link to a row that is not there";
        }
      }
    }
  }
  return "";
}

}  // namespace

Graph::Graph() : hnsw_(std::make_unique<faiss::HNSW>(kLinks)) {
  hnsw_->efConstruction = kEfConstruction;
}
Graph::Graph(Graph&&) noexcept = default;
Graph& Graph::operator=(Graph&&) noexcept = default;
Graph::~Graph() = default;

std::size_t Graph::rows() const {
  return hnsw_->levels.size();
}

void Graph::write(std::ostream& out) const {
  std::vector<std::uint8_t> levels(hnsw_->levels.begin(), hnsw_->levels.end());
  Header header{
      {}, 1, kLinks, levels.size(), hnsw_->entry_point, hnsw_->max_level, hnsw_->neighbors.size()};
  std::memcpy(header.magic, kMagic, sizeof kMagic);
  write_bytes(out, std::as_bytes(std::span(&header, 1)));
  write_bytes(out, bytes_of(levels));
  write_bytes(out, bytes_of(hnsw_->neighbors));
}

Graph Graph::parse(std::span<const std::byte> bytes, std::size_t rows, std::string_view where) {
  const auto fail = [&](const std::string& what) {
    throw Error(ErrorCode::io, std::string(where) + " " + what);
  };
  Header header;
  if (bytes.size() < sizeof header) fail("is cut short");
  std::memcpy(&header, bytes.data(), sizeof header);
  if (std::memcmp(header.magic, kMagic, sizeof kMagic) != 0 || header.version != 1 ||
      header.links != kLinks) {
    fail("is no graph that this program wrote");
  }
  bytes = bytes.subspan(sizeof header);
  if (header.rows != rows || bytes.size() < rows ||
      (bytes.size() - rows) / sizeof(int) != header.neighbours ||
      (bytes.size() - rows) % sizeof(int) != 0) {
    fail("has another size than its rows need");
  }
  Graph graph;
  faiss::HNSW& hnsw = *graph.hnsw_;
  const std::size_t most = hnsw.assign_probas.size();
  std::size_t neighbours = 0;
  hnsw.levels.reserve(rows);
  for (const std::byte b : bytes.first(rows)) {
    const int levels = std::to_integer<int>(b);
    if (levels < 1 || static_cast<std::size_t>(levels) > most) fail("has an impossible level");
    hnsw.levels.push_back(levels);
    neighbours += static_cast<std::size_t>(hnsw.cum_nb_neighbors(levels));
  }
  if (neighbours != header.neighbours) fail("has another size than its levels need");
  prepare(hnsw, rows, neighbours);
  const auto links = bytes.subspan(rows);
  std::copy(links.begin(), links.end(), std::as_writable_bytes(std::span(hnsw.neighbors)).begin());
  hnsw.entry_point = header.entry_point;
  hnsw.max_level = header.max_level;
  if (const std::string fault = fault_of(hnsw); !fault.empty()) fail("has " + fault);
  return graph;
}

void Graph::grow(std::size_t rows) {
  const std::size_t before = hnsw_->levels.size();
  if (rows <= before) return;
  std::size_t neighbours = hnsw_->neighbors.size();
  hnsw_->levels.reserve(rows);
  for (std::size_t row = before; row < rows; ++row) {
    const int levels = levels_of(row, hnsw_->assign_probas.size());
    hnsw_->levels.push_back(levels);
    neighbours += static_cast<std::size_t>(hnsw_->cum_nb_neighbors(levels));
  }
  prepare(*hnsw_, rows - before, neighbours);
}

void Graph::insert(const Codes& codes, std::span<const std::uint32_t> rows, const Context& context,
                   const IndexProgress& progress) {
  constexpr std::size_t kBatch = 2048;  // between two looks at the stop flag
  const ThreadScope threads(context);
  Locks locks(hnsw_->levels.size());
  std::vector<Inserter> inserters = workers_for(rows.size(), Inserter(codes, hnsw_->levels.size()));
  for (std::size_t begin = 0; begin < rows.size(); begin += kBatch) {
    context.check_stop();
    const std::size_t end = std::min(begin + kBatch, rows.size());
    share(inserters, begin, end, [&](Inserter& inserter, std::size_t i) {
      inserter.distances.set_query(rows[i]);
      hnsw_->add_with_locks(inserter.distances, hnsw_->levels[rows[i]] - 1,
                            static_cast<int>(rows[i]), locks.get(), inserter.visited);
    });
    if (progress) progress(end, rows.size());
  }
}

std::vector<std::vector<Neighbour>> Graph::search(const CodedRows& rows,
                                                  std::span<const float> queries, std::size_t k,
                                                  std::size_t ef) const {
  std::vector<std::vector<Neighbour>> found(queries.size() / rows.vectors.width);
  if (hnsw_->entry_point < 0 || ef == 0) return found;
  std::vector<Walk> walks = workers_for(found.size(), Walk(*hnsw_, rows.codes));
  share(walks, 0, found.size(), [&](Walk& walk, std::size_t q) {
    const float* query = queries.data() + q * rows.vectors.width;
    found[q] = judge(rows, query, walk.towards(query, ef), k);
  });
  return found;
}

}  // namespace blip
