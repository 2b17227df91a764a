#include "train/run/setup.h"

#include <algorithm>
#include <utility>

#include "blip/base/error.h"
#include "blip/base/file.h"
#include "blip/base/json.h"
#include "blip/checkpoint/checkpoint.h"
#include "train/model/weights.h"

namespace blip::train {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kMaxVocabulary = std::size_t{16} << 20;
constexpr std::int64_t kDefaultImageSize = 224;
const std::vector<std::string> kAddedTokens = {"[DEC]", "[ENC]"};

bool has_vocabulary(const fs::path& folder) {
  std::error_code ignored;
  return fs::exists(folder / "vocab.txt", ignored) ||
         fs::exists(folder / "tokenizer.json", ignored);
}

/// A vocabulary without [DEC] and [ENC] gets them, for a model that is made anew.
std::shared_ptr<const Tokenizer> read_tokenizer(const fs::path& folder, bool add_tokens) {
  Tokenizer tokenizer = Tokenizer::from_folder(folder);
  if (!add_tokens || (tokenizer.id("[DEC]") >= 0 && tokenizer.id("[ENC]") >= 0)) {
    return std::make_shared<Tokenizer>(std::move(tokenizer));
  }
  if (!fs::exists(folder / "vocab.txt")) {
    throw Error(ErrorCode::unsupported, folder.string() +
                                            " should have a vocab.txt, or [DEC] and "
                                            "[ENC] in its tokenizer.json");
  }
  return std::make_shared<Tokenizer>(
      Tokenizer::from_vocab(read_file(folder / "vocab.txt", kMaxVocabulary), kAddedTokens));
}

std::shared_ptr<const Tokenizer> choose_tokenizer(const ModelConfiguration& model,
                                                  const Checkpoint* init) {
  if (!model.tokenizer.empty()) return read_tokenizer(model.tokenizer, init == nullptr);
  if (init != nullptr && has_vocabulary(init->folder)) return read_tokenizer(init->folder, false);
  return std::make_shared<Tokenizer>(Tokenizer::bert_base_uncased());
}

BlipConfig new_config(const ModelConfiguration& model, const Tokenizer& tokenizer) {
  BlipConfig config;
  VisionConfig& vision = config.vision;
  vision.hidden_size = static_cast<int>(model.vision_width);
  vision.intermediate_size = 4 * vision.hidden_size;
  vision.num_hidden_layers = static_cast<int>(model.vision_layers);
  vision.num_attention_heads = static_cast<int>(model.vision_heads);
  vision.patch_size = static_cast<int>(model.patch_size);
  vision.image_size = static_cast<int>(kDefaultImageSize);
  vision.layer_norm_eps = 1e-6F;
  TextConfig& text = config.text;
  text.vocab_size = static_cast<int>(tokenizer.vocab_size());
  text.hidden_size = static_cast<int>(model.text_width);
  text.encoder_hidden_size = vision.hidden_size;
  text.intermediate_size = 4 * text.hidden_size;
  text.num_hidden_layers = static_cast<int>(model.text_layers);
  text.num_attention_heads = static_cast<int>(model.text_heads);
  text.max_position_embeddings = static_cast<int>(model.text_positions);
  text.bos_token_id = tokenizer.id("[DEC]");
  text.pad_token_id = tokenizer.pad_id();
  text.sep_token_id = tokenizer.sep_id();
  config.image_text_hidden_size = static_cast<int>(model.projection);
  return config;
}

TaskOptions task_options(const Configuration& c, const BlipConfig& config,
                         const Tokenizer& tokenizer) {
  TaskOptions options;
  options.config = config;
  options.cls_token_id = tokenizer.cls_id();
  const int enc = tokenizer.id("[ENC]");
  options.enc_token_id = enc >= 0 ? enc : config.text.bos_token_id + 1;
  options.seed = c.seed;
  options.alpha = c.loss.alpha;
  options.alpha_ramp_epochs = c.loss.alpha_ramp_epochs;
  options.momentum = c.loss.momentum;
  options.queue_size = c.loss.queue_size;
  options.temperature = c.loss.temperature;
  options.negatives_across_ranks = c.loss.negatives_across_ranks;
  options.label_smoothing = c.loss.label_smoothing;
  options.dropout = c.model.dropout;
  options.drop_path = c.model.drop_path;
  options.vision_checkpoint_layers = static_cast<int>(c.model.vision_checkpoint_layers);
  options.text_checkpoint_layers = static_cast<int>(c.model.text_checkpoint_layers);
  options.frozen = c.model.frozen;
  options.lora.rank = c.model.lora_rank;
  options.lora.alpha = c.model.lora_alpha;
  options.lora.targets = c.model.lora_targets;
  return options;
}

void check_queue(const std::string& task, const Configuration& c, std::int64_t ranks) {
  if (task != "pretrain" && task != "retrieval") return;
  const std::int64_t batch = c.optim.batch_size * ranks;
  if (c.loss.queue_size > 0 && c.loss.queue_size % batch == 0) return;
  throw Error(ErrorCode::usage, "\"loss.queue_size\" is " + std::to_string(c.loss.queue_size) +
                                    "; it should be a multiple of " + std::to_string(batch) +
                                    ", the batch of all processes");
}

void check_text_length(const Configuration& c, const BlipConfig& config) {
  if (c.data.text_length <= config.text.max_position_embeddings) return;
  throw Error(ErrorCode::usage, "\"data.text_length\" is " + std::to_string(c.data.text_length) +
                                    ", and the model reads " +
                                    std::to_string(config.text.max_position_embeddings) +
                                    " tokens");
}

std::string in_words(const std::string& what, const std::string& path, const LoadReport& report) {
  std::string line = what + " from " + path + ": " + std::to_string(report.loaded) + " tensors";
  const auto list = [&](const std::vector<std::string>& names, const char* why) {
    if (names.empty()) return;
    line += ", " + std::to_string(names.size()) + " " + why + " (" + names.front() +
            (names.size() > 1 ? ", ...)" : ")");
  };
  list(report.missing, "are not in it");
  list(report.misshapen, "have another shape");
  return line;
}

ImageProcessorConfig processor_of(const Checkpoint* init, int size) {
  ImageProcessorConfig processor;
  if (init != nullptr && init->preprocessor.is_object()) {
    processor = ImageProcessorConfig::from_json(init->preprocessor);
  }
  processor.width = processor.height = size;
  return processor;
}

void write_text(const fs::path& file, const std::string& text) {
  write_file(file, [&](std::ostream& out) { out << text; });
}

void save_tokenizer(const Tokenizer& tokenizer, const fs::path& folder) {
  std::string vocabulary;
  for (int id = 0; id < static_cast<int>(tokenizer.vocab_size()); ++id) {
    vocabulary += std::string(tokenizer.token(id)) + "\n";
  }
  write_text(folder / "vocab.txt", vocabulary);
  Json config = {{"tokenizer_class", "BertTokenizer"},
                 {"do_lower_case", true},
                 {"cls_token", "[CLS]"},
                 {"sep_token", "[SEP]"},
                 {"pad_token", "[PAD]"},
                 {"unk_token", "[UNK]"},
                 {"mask_token", "[MASK]"},
                 {"model_max_length", 512}};
  Json added = Json::array();
  for (const std::string& token : kAddedTokens) {
    if (tokenizer.id(token) >= 0) added.push_back(token);
  }
  if (!added.empty()) config["extra_special_tokens"] = added;
  write_text(folder / "tokenizer_config.json", dump(config, 2) + "\n");
}

void save_processor(const ImageProcessorConfig& processor, const fs::path& folder) {
  const Json json = {{"image_processor_type", "BlipImageProcessor"},
                     {"do_convert_rgb", true},
                     {"do_resize", true},
                     {"size", {{"height", processor.height}, {"width", processor.width}}},
                     {"resample", 3},
                     {"do_rescale", processor.do_rescale},
                     {"rescale_factor", processor.rescale_factor},
                     {"do_normalize", processor.do_normalize},
                     {"image_mean", processor.mean},
                     {"image_std", processor.std}};
  write_text(folder / "preprocessor_config.json", dump(json, 2) + "\n");
}

/// Fills a folder beside the one that is meant, and puts it in its place when it is whole.
void replace_folder(const fs::path& folder, const std::function<void(const fs::path&)>& fill) {
  const fs::path partial = folder.string() + ".partial", old = folder.string() + ".old";
  try {
    fs::remove_all(partial);
    fs::create_directories(partial);
    fill(partial);
    fs::remove_all(old);
    if (fs::exists(folder)) fs::rename(folder, old);
    fs::rename(partial, folder);
    fs::remove_all(old);
  } catch (const fs::filesystem_error& e) {
    throw Error(ErrorCode::io, "cannot write " + folder.string() + ": " + e.code().message());
  }
}

}  // namespace

DataKind data_kind(const std::string& task) {
  if (task == "vqa") return DataKind::questions;
  if (task == "nlvr") return DataKind::statements;
  if (task == "pretrain" || task == "caption" || task == "retrieval") return DataKind::captions;
  throw Error(ErrorCode::usage, "there is no task " + in_quotes(task) +
                                    "; it can be pretrain, caption, retrieval, vqa or nlvr");
}

Setup set_up(const std::string& task, const Configuration& c, std::int64_t ranks,
             const std::function<void(const std::string&)>& tell) {
  check_queue(task, c, ranks);
  std::unique_ptr<Checkpoint> init;
  if (!c.model.init.empty()) init = std::make_unique<Checkpoint>(open_checkpoint(c.model.init));
  Setup setup;
  setup.tokenizer = choose_tokenizer(c.model, init.get());
  BlipConfig config = init ? init->config : new_config(c.model, *setup.tokenizer);
  if (c.model.image_size > 0) config.vision.image_size = static_cast<int>(c.model.image_size);
  check_text_length(c, config);
  setup.processor = processor_of(init.get(), config.vision.image_size);
  setup.options = task_options(c, config, *setup.tokenizer);
  torch::manual_seed(static_cast<std::uint64_t>(c.seed));
  setup.task = make_task(task, setup.options);
  if (init) {
    tell(in_words("weights", c.model.init, load_checkpoint(*setup.task, c.model.init)));
  }
  if (!c.model.vit.empty()) {
    tell(in_words("vision encoder", c.model.vit, load_vision(*setup.task, c.model.vit)));
  }
  if (!c.model.bert.empty()) {
    tell(in_words("text model", c.model.bert, load_text(*setup.task, c.model.bert)));
  }
  return setup;
}

void save_model(const Setup& setup, const Texts& layouts, const fs::path& folder) {
  const auto wanted = [&](const char* layout) {
    return std::find(layouts.begin(), layouts.end(), layout) != layouts.end();
  };
  if (wanted("hugging_face")) {
    replace_folder(folder / "model", [&](const fs::path& to) {
      setup.task->save_pretrained(to, Layout::hugging_face);
      save_tokenizer(*setup.tokenizer, to);
      save_processor(setup.processor, to);
    });
  }
  if (wanted("authors")) {
    replace_folder(folder / "authors",
                   [&](const fs::path& to) { setup.task->save_pretrained(to, Layout::authors); });
  }
}

}  // namespace blip::train
