#include "blip/index/lists.h"

#include <faiss/Clustering.h>
#include <faiss/IndexFlat.h>
#include <faiss/impl/FaissException.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>
#include <string>

#include "blip/base/error.h"
#include "blip/index/manifest.h"

namespace blip {
namespace {

constexpr std::size_t kSamplesPerCentroid = 50;
constexpr int kIterations = 10;
constexpr std::size_t kAlignment = 64;

struct Header {
  char magic[8];
  std::uint32_t version;
  std::uint32_t width;
  std::uint64_t lists;
  std::uint64_t rows;
  std::uint64_t trained_rows;
};
constexpr char kMagic[8] = {'B', 'L', 'I', 'P', 'L', 'I', 'S', 'T'};

/// Bytes before the vectors: header, centroids, sizes of the lists, rows in the lists.
std::size_t head_size(std::size_t width, std::size_t lists, std::size_t rows) {
  const std::size_t size =
      sizeof(Header) + lists * width * sizeof(float) + (lists + rows) * sizeof(std::uint32_t);
  return (size + kAlignment - 1) / kAlignment * kAlignment;
}

template <class T>
std::size_t write_values(std::ostream& out, std::span<const T> values) {
  out.write(reinterpret_cast<const char*>(values.data()),
            static_cast<std::streamsize>(values.size_bytes()));
  return values.size_bytes();
}

/// The list that each of `rows` belongs to.
std::vector<std::uint32_t> assign(const VectorView& vectors, std::span<const std::uint32_t> rows,
                                  const Centroids& centroids, const Context& context) {
  constexpr std::size_t kBatch = 4096;
  using Count = faiss::Index::idx_t;
  faiss::IndexFlatIP nearest(static_cast<Count>(vectors.width));
  nearest.add(static_cast<Count>(centroids.vectors.size() / vectors.width),
              centroids.vectors.data());
  std::vector<std::uint32_t> lists(rows.size(), 0);
  std::vector<float> batch, similarities(kBatch);
  std::vector<Count> found(kBatch);
  for (std::size_t begin = 0; begin < rows.size(); begin += kBatch) {
    context.check_stop();
    const std::size_t count = std::min(kBatch, rows.size() - begin);
    batch.clear();
    for (std::size_t i = 0; i < count; ++i) {
      const float* vector = vectors[rows[begin + i]];
      batch.insert(batch.end(), vector, vector + vectors.width);
    }
    nearest.search(static_cast<Count>(count), batch.data(), 1, similarities.data(), found.data());
    for (std::size_t i = 0; i < count; ++i) {
      // Nothing is near to what is no number.
      lists[begin + i] = found[i] < 0 ? 0 : static_cast<std::uint32_t>(found[i]);
    }
  }
  return lists;
}

}  // namespace

Centroids train_centroids(const VectorView& vectors, std::span<const std::uint32_t> rows,
                          const Context& context) {
  if (rows.empty()) return {std::vector<float>(vectors.width), 0};
  const auto root = static_cast<std::size_t>(std::sqrt(static_cast<double>(rows.size())));
  const std::size_t count = std::clamp<std::size_t>(2 * root, 1, rows.size());
  const std::size_t samples = std::min(rows.size(), count * kSamplesPerCentroid);
  std::vector<float> sample;
  sample.reserve(samples * vectors.width);
  for (std::size_t i = 0; i < samples; ++i) {
    const float* vector = vectors[rows[i * rows.size() / samples]];
    sample.insert(sample.end(), vector, vector + vectors.width);
  }
  const ThreadScope threads(context);
  faiss::ClusteringParameters parameters;
  parameters.niter = 1;  // one at a time, to look at the stop flag between them
  parameters.spherical = true;
  parameters.min_points_per_centroid = 1;  // fewer than 39 would print a warning
  faiss::Clustering clustering(static_cast<int>(vectors.width), static_cast<int>(count),
                               parameters);
  faiss::IndexFlatIP assignment(static_cast<faiss::Index::idx_t>(vectors.width));
  try {
    for (int i = 0; i < kIterations; ++i) {
      context.check_stop();
      clustering.train(static_cast<faiss::Index::idx_t>(samples), sample.data(), assignment);
    }
  } catch (const faiss::FaissException& e) {  // values that are no numbers, from damaged rows
    throw Error(ErrorCode::io, std::string("k-means refused the index's vectors: ") + e.what());
  }
  return {std::move(clustering.centroids), rows.size()};
}

Centroids Lists::centroids() const {
  return {std::vector<float>(centroids_.begin(), centroids_.end()), trained_rows_};
}

void Lists::write(std::ostream& out, const VectorView& vectors, std::span<const std::uint32_t> rows,
                  const Centroids& centroids, const Context& context) {
  const ThreadScope threads(context);
  const std::size_t lists = centroids.vectors.size() / vectors.width;
  const std::vector<std::uint32_t> list_of = assign(vectors, rows, centroids, context);
  std::vector<std::uint32_t> sizes(lists, 0);
  for (const std::uint32_t list : list_of) ++sizes[list];
  std::vector<std::uint32_t> next(lists, 0);  // place of each list's next row
  std::exclusive_scan(sizes.begin(), sizes.end(), next.begin(), std::uint32_t{0});
  std::vector<std::uint32_t> ids(rows.size());
  for (std::size_t i = 0; i < rows.size(); ++i) ids[next[list_of[i]]++] = rows[i];

  Header header{{},    1,           static_cast<std::uint32_t>(vectors.width),
                lists, rows.size(), centroids.trained_rows};
  std::memcpy(header.magic, kMagic, sizeof kMagic);
  std::size_t written = write_values(out, std::span<const Header>(&header, 1));
  written += write_values(out, std::span<const float>(centroids.vectors));
  written += write_values(out, std::span<const std::uint32_t>(sizes));
  written += write_values(out, std::span<const std::uint32_t>(ids));
  const std::vector<char> padding(head_size(vectors.width, lists, rows.size()) - written);
  write_values(out, std::span<const char>(padding));
  for (const std::uint32_t row : ids) {
    write_values(out, std::span<const float>(vectors[row], vectors.width));
  }
}

Lists Lists::parse(std::span<const std::byte> bytes, std::size_t rows, std::size_t width,
                   std::string_view where) {
  const auto require = [&](bool holds, const char* what) {
    if (!holds) throw Error(ErrorCode::io, std::string(where) + " " + what);
  };
  Header header;
  require(bytes.size() >= sizeof header, "is cut short");
  std::memcpy(&header, bytes.data(), sizeof header);
  require(std::memcmp(header.magic, kMagic, sizeof kMagic) == 0 && header.version == 1 &&
              header.width == width,
          "holds no lists that this program wrote for such vectors");
  require(header.lists >= 1 && header.lists <= kMaxIndexRows && header.rows <= rows,
          "has impossible numbers of lists or rows");
  Lists lists;
  lists.width_ = width;
  lists.trained_rows_ = header.trained_rows;
  lists.head_bytes_ = head_size(width, header.lists, header.rows);
  require(bytes.size() == lists.head_bytes_ + header.rows * width * sizeof(float),
          "has another size than its lists need");
  const std::byte* at = bytes.data() + sizeof header;
  lists.centroids_ = {reinterpret_cast<const float*>(at), header.lists * width};
  at += lists.centroids_.size_bytes();
  const std::span sizes(reinterpret_cast<const std::uint32_t*>(at), header.lists);
  at += sizes.size_bytes();
  lists.ids_ = {reinterpret_cast<const std::uint32_t*>(at), header.rows};
  lists.vectors_ = reinterpret_cast<const float*>(bytes.data() + lists.head_bytes_);
  lists.begins_.push_back(0);
  for (const std::uint32_t size : sizes) lists.begins_.push_back(lists.begins_.back() + size);
  require(lists.begins_.back() == header.rows, "has lists that do not add up");
  require(std::all_of(lists.ids_.begin(), lists.ids_.end(), [&](auto id) { return id < rows; }),
          "names a row that is not there");
  return lists;
}

std::vector<std::vector<Neighbour>> Lists::search(std::span<const float> queries, std::size_t k,
                                                  std::size_t probes) const {
  std::vector<std::vector<Neighbour>> found;
  const VectorView centres{centroids_.data(), count(), width_};
  for (std::size_t q = 0; q < queries.size() / width_; ++q) {
    const float* query = queries.data() + q * width_;
    Nearest lists(count());
    scan(centres, {}, {}, query, {&lists, 1});
    Nearest nearest(k);
    std::size_t looked_at = 0;
    std::size_t seen = 0;
    for (const Neighbour& list : lists.take()) {
      if (looked_at++ >= probes && seen >= k) break;
      const std::size_t begin = begins_[list.row];
      const std::size_t size = begins_[list.row + 1] - begin;
      seen += size;
      scan({vectors_ + begin * width_, size, width_}, ids_.subspan(begin, size), {}, query,
           {&nearest, 1});
    }
    found.push_back(nearest.take());
  }
  return found;
}

bool Lists::holds_vectors_of(const VectorView& vectors) const {
  for (std::size_t i = 0; i < ids_.size(); ++i) {
    if (std::memcmp(vectors_ + i * width_, vectors[ids_[i]], width_ * sizeof(float)) != 0) {
      return false;
    }
  }
  return true;
}

}  // namespace blip
