#include "apps/cli/capfilt_part.h"

#include <cstdint>
#include <future>
#include <memory>
#include <new>
#include <optional>
#include <span>
#include <system_error>
#include <unordered_set>
#include <utility>
#include <vector>

#include "apps/cli/capfilt_samples.h"
#include "apps/cli/part_journal.h"
#include "blip/base/file.h"
#include "blip/dataset/pair_writer.h"
#include "blip/tasks/capfilt_json.h"

namespace blip::cli {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kSamplesOfPart = 6;  ///< of each group

/// Records that go through the models together.
struct Batch {
  std::vector<PairRecord> records;
  std::vector<CapFiltInput> inputs;
};

/// Reads a part's records; decodes what the models look at.
class PartLoader {
 public:
  PartLoader(const CapFiltPlan& plan, const CapFiltWork& work, PairReader read)
      : plan_(plan), work_(work), read_(std::move(read)) {}

  /// The next record, with the error of one that the output cannot hold; none at the end (false).
  bool next(PairRecord& record) {
    if (!read_(record)) return false;
    ++count_;
    if (!record.error) refuse_unwritable(record);
    return true;
  }

  /// How many there were. Not while load() runs.
  std::int64_t count() const { return count_; }

  /// Empty at the end.
  Batch load() {
    const ThreadScope one_thread({.num_threads = 1});  // the others are the models'
    Batch batch;
    while (batch.records.size() < work_.batch_size &&
           !(work_.context.stop != nullptr && work_.context.stop->load())) {
      PairRecord record;
      if (!next(record)) break;
      add(batch, std::move(record));
    }
    return batch;
  }

  /// A record that was read by next().
  void add(Batch& batch, PairRecord record) const {
    batch.inputs.push_back(input_of(record));
    batch.records.push_back(std::move(record));
  }

  /// Reads what the output is to hold, before the journal says that it is kept. Throws what
  /// picture_bytes() throws.
  void fetch(PairRecord& record) const {
    if (plan_.copies_pictures() && !record.file.empty()) record.bytes = record.picture_bytes();
  }

 private:
  void refuse_unwritable(PairRecord& record) {
    if (!plan_.copies_pictures()) return;
    const bool folder = plan_.output() == PairOutput::folder;
    const std::string unsafe = folder ? unsafe_below(record.name) : "";
    if (!unsafe.empty()) {
      record.error.emplace(ErrorCode::usage, unsafe);
    } else if (folder && record.shares_sidecar) {
      record.error.emplace(ErrorCode::usage,
                           "its texts would be in the file of another picture's, whose name is the "
                           "same but for the ending");
    } else if (record.file.empty() && !keys_.insert(record.name).second) {
      record.error.emplace(ErrorCode::usage, "the shard has this key before");
    }
  }

  CapFiltInput input_of(PairRecord& record) const {
    CapFiltInput input;
    input.key = record.key;
    input.texts = record.texts;
    input.human = record.human;
    input.error = record.error;
    if (input.error) return input;
    try {
      fetch(record);
      if (record.human) {
        std::error_code ignored;
        if (record.bytes || record.file.empty() || fs::is_regular_file(record.file, ignored))
          return input;
      }
      const std::string bytes = record.picture_bytes();
      input.picture =
          work_.filter.prepare(decode_image(std::as_bytes(std::span(bytes)), work_.images));
    } catch (const Error& e) {
      input.error = e;
    } catch (const std::bad_alloc&) {
      input.error.emplace(ErrorCode::too_large, "out of memory");
    }
    if (input.error) record.bytes.reset();
    return input;
  }

  const CapFiltPlan& plan_;
  const CapFiltWork& work_;
  PairReader read_;
  std::int64_t count_ = 0;
  std::unordered_set<std::string> keys_;
};

/// The tar's temporary name, or that of one picture after the other.
fs::path temporary_of(const CapFiltPlan& plan, const CapFiltPart& part) {
  return plan.file_of(part, plan.output() == PairOutput::tars ? ".tar.part" : ".picture.part");
}

std::unique_ptr<PairWriter> make_writer(const CapFiltPlan& plan, const CapFiltPart& part) {
  const fs::path temporary = temporary_of(plan, part);
  if (plan.output() == PairOutput::tars) return make_tar_writer(temporary, part.name);
  if (plan.output() == PairOutput::folder)
    return make_folder_writer(plan.pictures_of(part), temporary);
  return nullptr;
}

class PartRun {
 public:
  PartRun(const CapFiltPlan& plan, const CapFiltPart& part, const CapFiltWork& work,
          PairReader read)
      : plan_(plan),
        part_(part),
        work_(work),
        loader_(plan, work, std::move(read)),
        journal_(plan.file_of(part, "_records.jsonl")),
        writer_(make_writer(plan, part)),
        samples_(kSamplesOfPart) {}

  void run() {
    replay();
    std::future<Batch> next = load();
    for (;;) {
      Batch batch = next.get();
      work_.context.check_stop();
      if (batch.records.empty()) break;
      next = load();
      process(batch);
    }
    finish();
  }

 private:
  /// Ahead of the models, on a thread of its own.
  std::future<Batch> load() {
    return std::async(std::launch::async, [this] { return loader_.load(); });
  }

  /// Takes over what is in the journal, up to a picture that was kept and is gone since.
  void replay() {
    while (std::optional<Json> row = journal_.next()) {
      work_.context.check_stop();
      PairRecord record;
      const CapFiltRecord known = capfilt_record_from_json(*row, part_.name + "_records.jsonl");
      if (!loader_.next(record) || record.key != known.key) {
        throw Error(ErrorCode::usage, "the input has changed since " + part_.name +
                                          " was begun: where " + in_quotes(known.key) + " was is " +
                                          in_quotes(record.key));
      }
      if (known.verdict() == CapFiltVerdict::kept && !can_fetch(record)) {
        do_anew(std::move(record));
        return;
      }
      keep(record, known, *row);
    }
  }

  bool can_fetch(PairRecord& record) const {
    try {
      loader_.fetch(record);
      return true;
    } catch (const Error&) {
      return false;
    }
  }

  /// The record whose row was read last; those behind it follow as if they had not been done.
  void do_anew(PairRecord record) {
    journal_.forget_last();
    Batch batch;
    loader_.add(batch, std::move(record));
    process(batch);
  }

  void process(Batch& batch) {
    const std::vector<CapFiltRecord> done = work_.filter.run(batch.inputs, work_.context);
    for (std::size_t i = 0; i < done.size(); ++i) {
      Json row = to_json(done[i]);
      if (batch.records[i].id) row["id"] = *batch.records[i].id;
      journal_.append(dump(row));
      keep(batch.records[i], done[i], row);
    }
    journal_.flush();
    if (work_.progress) work_.progress(done_);
  }

  void keep(const PairRecord& record, const CapFiltRecord& done, const Json& row) {
    ++done_;
    statistics_.add(done);
    if (record.source_ends_here) damaged_ = record.error->what();
    samples_.consider(record, row, work_.images);
    if (!writer_) return;
    if (done.verdict() == CapFiltVerdict::kept)
      writer_->add(record, done.kept_texts(), dump(row));
    else if (done.error && !record.error)
      writer_->remove(record);  // a run that was killed may have had the picture
  }

  void finish() {
    statistics_.records_in = loader_.count();
    statistics_.require_balance(part_.name);
    if (writer_) writer_->finish();
    std::error_code error;
    if (plan_.output() == PairOutput::tars) {
      fs::rename(temporary_of(plan_, part_), plan_.file_of(part_, ".tar"), error);
      if (error) {
        throw Error(ErrorCode::io, "cannot write " + plan_.file_of(part_, ".tar").string() + ": " +
                                       error.message());
      }
    }
    journal_.finish();
    Json statistics = to_json(statistics_);
    if (!damaged_.empty()) statistics["damaged"] = damaged_;
    statistics["samples"] = samples_.to_json();
    const fs::path file = plan_.file_of(part_, "_stats.json");
    // A part's files have one temporary name each, so that a kill leaves none behind for good.
    write_file_as(file, fs::path(file) += ".part",
                  [&](std::ostream& out) { out << dump(statistics, 1) << '\n'; });
  }

  const CapFiltPlan& plan_;
  const CapFiltPart& part_;
  const CapFiltWork& work_;
  PartLoader loader_;
  PartJournal journal_;
  std::unique_ptr<PairWriter> writer_;
  CapFiltSamples samples_;
  CapFiltStatistics statistics_;
  std::size_t done_ = 0;
  std::string damaged_;  ///< why the source could not be read to its end
};

}  // namespace

PartOutcome do_part(const CapFiltPlan& plan, const CapFiltPart& part, const CapFiltWork& work) {
  const fs::path statistics = plan.file_of(part, "_stats.json");
  std::error_code ignored;
  if (fs::exists(statistics, ignored)) return PartOutcome::was_done;
  PartLock lock(plan.file_of(part, ".lock"));
  if (!lock.held()) return PartOutcome::busy;
  PartOutcome outcome = PartOutcome::was_done;  // by another, between the look and the lock
  if (!fs::exists(statistics, ignored)) {
    PairReader read;
    try {
      read = plan.source(part).read(part.index);
    } catch (const Error& e) {
      if (work.complain) work.complain(e);
      lock.remove();
      return PartOutcome::unreadable;
    }
    PartRun(plan, part, work, std::move(read)).run();
    outcome = PartOutcome::done;
  }
  lock.remove();
  return outcome;
}

}  // namespace blip::cli
