// Builds an index of made-up vectors, streaming, and searches it: index_bench KIND COUNT FACTORS
// FOLDER [CENTRES]; only searches it where FOLDER holds one already. One line of JSON on standard
// output for the build and one for the searches, which run on one thread. FACTORS is how many
// independent directions the vectors mix, as those of pictures mix what is to be seen in them; 0:
// none, all directions are equally likely, or as likely around CENTRES of equally likely
// directions.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <numbers>
#include <string>
#include <vector>

#include "blip/base/json.h"
#include "blip/base/random.h"
#include "blip/index/calibrate.h"
#include "blip/index/index.h"
#include "blip/index/writer.h"

namespace {

constexpr std::size_t kWidth = 256;
constexpr std::size_t kQueries = 500;

double seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

/// A field of /proc/self/status in MiB: "RssAnon" is what the process itself takes, "RssFile" what
/// of mapped files is in memory at the moment, which the system takes back when it needs to.
double memory(const std::string& field) {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with(field + ":")) return std::stod(line.substr(field.size() + 1)) / 1024;
  }
  return 0;
}

class Vectors {
 public:
  Vectors(std::size_t factors, std::size_t centres, std::uint64_t seed)
      : factors_(factors), centres_(centres * kWidth), random_(seed) {
    blip::Random directions(1);
    for (float& v : centres_) v = gaussian(directions);
    for (std::size_t i = 0; i < factors * kWidth; ++i) mixed_.push_back(gaussian(directions));
  }

  const std::vector<float>& next() {
    std::fill(vector_.begin(), vector_.end(), 0.0f);
    for (std::size_t f = 0; f < factors_; ++f) {
      const float amount = gaussian(random_);
      for (std::size_t i = 0; i < kWidth; ++i) vector_[i] += amount * mixed_[f * kWidth + i];
    }
    float noise = factors_ == 0 ? 1.0f : 0.3f;
    if (!centres_.empty()) {
      const std::size_t centre = random_.next() % (centres_.size() / kWidth);
      std::copy_n(centres_.begin() + static_cast<std::ptrdiff_t>(centre * kWidth), kWidth,
                  vector_.begin());
      noise = 0.7f;  // two of one centre have a cosine of 2 in 3
    }
    double square = 0;
    for (float& v : vector_) {
      v += noise * gaussian(random_);
      square += double{v} * double{v};
    }
    for (float& v : vector_) v = static_cast<float>(double{v} / std::sqrt(square));
    return vector_;
  }

 private:
  /// By sums of uniform numbers: near enough, and quick.
  static float gaussian(blip::Random& random) {
    const std::uint64_t bits = random.next();
    const auto part = [&](int shift) { return static_cast<float>(bits >> shift & 0xffff); };
    return (part(0) + part(16) + part(32) + part(48)) / 37837.0f - 3.4641f;
  }

  std::size_t factors_;
  std::vector<float> centres_;
  blip::Random random_;
  std::vector<float> mixed_;
  std::vector<float> vector_ = std::vector<float>(kWidth);
};

blip::IndexKind kind_of(const std::string& word) {
  if (word == "hnsw") return blip::IndexKind::hnsw;
  return word == "ivf" ? blip::IndexKind::ivf : blip::IndexKind::flat;
}

blip::IndexManifest build(const std::filesystem::path& folder, blip::IndexKind kind,
                          std::size_t count, Vectors& vectors) {
  const double start = seconds();
  blip::IndexWriter writer = blip::IndexWriter::create(
      folder, {kind, blip::IndexContent::images, kWidth, "made up", {}, {}});
  for (std::size_t row = 0; row < count; ++row) {
    writer.append({"picture " + std::to_string(row)}, vectors.next());
  }
  const double appended = seconds();
  double own = memory("RssAnon");
  const blip::IndexManifest manifest =
      writer.commit({}, [&](std::size_t, std::size_t) { own = std::max(own, memory("RssAnon")); });
  own = std::max(own, memory("RssAnon"));
  const blip::Json row = {{"build", name(kind)},
                          {"count", count},
                          {"append_s", appended - start},
                          {"commit_s", seconds() - appended},
                          {"searched_by", manifest.sketches ? "sketches" : blip::name(kind)},
                          {"effort", manifest.effort},
                          {"recall", manifest.recall},
                          {"own_memory_mib", own},
                          {"peak_rss_mib", memory("VmHWM")}};
  std::printf("%s\n", row.dump().c_str());
  return manifest;
}

void search(const std::filesystem::path& folder, Vectors& vectors) {
  std::vector<float> queries;
  for (std::size_t i = 0; i < kQueries; ++i) {
    const std::vector<float>& query = vectors.next();
    queries.insert(queries.end(), query.begin(), query.end());
  }
  double start = seconds();
  const blip::VectorIndex index = blip::VectorIndex::open(folder);
  const double opened = seconds() - start;
  const auto truth =
      index.search(queries, {.k = 10, .effort = blip::kExhaustiveEffort});  // also warms the cache
  std::vector<double> times;
  std::vector<std::vector<blip::Neighbour>> found;
  for (std::size_t i = 0; i < kQueries; ++i) {
    start = seconds();
    found.push_back(
        index.search(std::span(queries).subspan(i * kWidth, kWidth), {.k = 10}, {.num_threads = 1})
            .front());
    times.push_back(1e3 * (seconds() - start));
  }
  std::sort(times.begin(), times.end());
  const blip::Json row = {{"open_s", opened},
                          {"search_ms_median", times[kQueries / 2]},
                          {"search_ms_p99", times[kQueries * 99 / 100]},
                          {"recall_at_10", blip::recall(truth, found)},
                          {"own_memory_mib", memory("RssAnon")}};
  std::printf("%s\n", row.dump().c_str());
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 5 && argc != 6) return 2;
  const std::filesystem::path folder = argv[4];
  const std::size_t factors = std::stoul(argv[3]);
  const std::size_t centres = argc == 6 ? std::stoul(argv[5]) : 0;
  if (!std::filesystem::exists(folder / "manifest.json")) {
    Vectors vectors(factors, centres, 2);
    build(folder, kind_of(argv[1]), std::stoul(argv[2]), vectors);
    std::fflush(stdout);
  }
  Vectors vectors(factors, centres, 3);
  search(folder, vectors);
}
