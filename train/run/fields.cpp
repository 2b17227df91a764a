#include <charconv>

#include "blip/base/json.h"
#include "train/run/configuration.h"

namespace blip::train {
namespace {

void add_model(ModelConfiguration& m, std::vector<Field>& all) {
  all.insert(
      all.end(),
      {{"model.init", &m.init,
        "checkpoint to start from, a folder or a .pth; empty: random weights"},
       {"model.vit", &m.vit, "ViT or DeiT checkpoint that the vision encoder starts from"},
       {"model.bert", &m.bert, "BERT checkpoint that the text model starts from"},
       {"model.tokenizer", &m.tokenizer,
        "folder with vocab.txt or tokenizer.json; empty: that of model.init, else "
        "bert-base-uncased"},
       {"model.image_size", &m.image_size,
        "side of the pictures in pixels; 0: that of model.init, or 224"},
       {"model.patch_size", &m.patch_size,
        "side of a patch; this and all sizes below are for a model "
        "without model.init"},
       {"model.vision_width", &m.vision_width, "width of the ViT (L: 1024)"},
       {"model.vision_layers", &m.vision_layers, "its layers (L: 24)"},
       {"model.vision_heads", &m.vision_heads, "its attention heads (L: 16)"},
       {"model.text_width", &m.text_width, "width of the text model"},
       {"model.text_layers", &m.text_layers, "its layers"},
       {"model.text_heads", &m.text_heads, "its attention heads"},
       {"model.text_positions", &m.text_positions, "tokens of its longest text"},
       {"model.projection", &m.projection, "width of the vectors that ITC compares"},
       {"model.dropout", &m.dropout, "of the text model"},
       {"model.drop_path", &m.drop_path, "stochastic depth of the ViT (ViT-L, VQA, NLVR2: 0.1)"},
       {"model.vision_checkpoint_layers", &m.vision_checkpoint_layers,
        "last ViT layers computed twice to save memory"},
       {"model.text_checkpoint_layers", &m.text_checkpoint_layers, "the same for the text model"},
       {"model.frozen", &m.frozen, "beginnings of the names of parameters that stay as they are"},
       {"model.lora_rank", &m.lora_rank, "rank of LoRA's updates, merged when saved; 0: none"},
       {"model.lora_alpha", &m.lora_alpha, "updates are scaled by this over the rank"},
       {"model.lora_targets", &m.lora_targets, "ends of the names of layers that LoRA updates"}});
}

void add_loss(LossConfiguration& l, std::vector<Field>& all) {
  all.insert(all.end(),
             {{"loss.alpha", &l.alpha, "weight of the momentum model's soft labels"},
              {"loss.alpha_ramp_epochs", &l.alpha_ramp_epochs, "epochs in which it grows from 0"},
              {"loss.momentum", &l.momentum, "of the momentum model"},
              {"loss.temperature", &l.temperature, "of ITC at the start; it is learnt"},
              {"loss.queue_size", &l.queue_size,
               "features that ITC compares with; a multiple of the batch of all processes"},
              {"loss.negatives_across_ranks", &l.negatives_across_ranks,
               "hard negatives of ITM from the batches of all processes"},
              {"loss.label_smoothing", &l.label_smoothing, "of the language model"}});
}

void add_data(DataOptions& d, std::vector<Field>& all) {
  all.insert(
      all.end(),
      {{"data.train", &d.train,
        "what to learn from: folders with sidecars, .json, .jsonl, a+b for files that belong "
        "together, "
        "shards/{000..099}.tar"},
       {"data.images", &d.images,
        "folders that pictures' names are relative to: one for all, or one for each of data.train; "
        "empty: beside the file"},
       {"data.repeat", &d.repeat, "how often an epoch takes each of data.train; empty: once"},
       {"data.split", &d.split, "part of Karpathy's files, such as train"},
       {"data.prompt", &d.prompt, "begins every caption and is not learnt"},
       {"data.max_words", &d.max_words, "longer texts are cut"},
       {"data.text_length", &d.text_length,
        "tokens, [CLS] and [SEP] among them, that texts are cut to"},
       {"data.pad_to_length", &d.pad_to_length,
        "pad every batch to that many; else to its longest text"},
       {"data.threads", &d.threads, "threads that read pictures ahead; 0: one a core"},
       {"data.prefetch", &d.prefetch, "batches that are ready ahead"},
       {"data.shuffle_buffer", &d.shuffle_buffer, "samples of tar shards among which one is drawn"},
       {"data.samples_per_epoch", &d.samples_per_epoch,
        "of tar shards; 0: they are counted at the start"},
       {"data.max_bad_share", &d.max_bad_share,
        "share of records without a whole picture or text that may be passed over"}});
}

void add_augment(AugmentationOptions& a, std::vector<Field>& all) {
  all.insert(
      all.end(),
      {{"augment.enabled", &a.enabled, "false: pictures are squashed as in evaluation"},
       {"augment.crop_scale_min", &a.crop_scale_min, "least share of a picture that a crop keeps"},
       {"augment.crop_ratio", &a.crop_ratio, "most that its sides are stretched; 1: never"},
       {"augment.flip", &a.flip, "left for right, half of the time"},
       {"augment.operations", &a.operations, "RandAugment's N"},
       {"augment.level", &a.level, "RandAugment's M, 0 to 10"},
       {"augment.affine", &a.affine, "share of pictures that are turned, sheared, scaled a little"},
       {"augment.blur", &a.blur, "share of pictures that are blurred a little"}});
}

void add_optim(OptimConfiguration& o, std::vector<Field>& all) {
  all.insert(
      all.end(),
      {{"optim.batch_size", &o.batch_size, "records of one process in one pass"},
       {"optim.accumulation", &o.accumulation, "passes that make one step"},
       {"optim.epochs", &o.epochs, "how often everything is seen"},
       {"optim.max_steps", &o.max_steps, "end after that many steps; 0: after the epochs"},
       {"optim.lr", &o.lr, "learning rate of AdamW at its highest"},
       {"optim.min_lr", &o.min_lr, "learning rate at the end (cosine), or its floor (step)"},
       {"optim.schedule", &o.schedule, "cosine, step (times decay_rate an epoch) or constant"},
       {"optim.per", &o.per, "the schedule moves with every epoch, as the authors', or step"},
       {"optim.decay_rate", &o.decay_rate, "of schedule step"},
       {"optim.warmup_steps", &o.warmup_steps, "steps from warmup_lr to lr"},
       {"optim.warmup_lr", &o.warmup_lr, "learning rate of the first step"},
       {"optim.weight_decay", &o.weight_decay, "of AdamW, for all parameters"},
       {"optim.beta1", &o.beta1, "of AdamW"},
       {"optim.beta2", &o.beta2, "of AdamW"},
       {"optim.eps", &o.eps, "of AdamW"},
       {"optim.clip", &o.clip, "greatest norm of all gradients together; 0: any"}});
}

void add_run(RunConfiguration& r, std::vector<Field>& all) {
  all.insert(
      all.end(),
      {{"save.every_steps", &r.save_every_steps, "a checkpoint every so many steps; 0: none"},
       {"save.keep", &r.save_keep, "checkpoints that are kept"},
       {"save.layouts", &r.layouts, "of the weights at the end: hugging_face, authors"},
       {"log.every", &r.log_every, "steps between two lines of the log"},
       {"log.tensorboard", &r.tensorboard, "write event files"},
       {"log.samples", &r.report_samples, "pictures with their captions in the report"},
       {"distributed.backend", &r.backend, "gloo, nccl, or auto: nccl on GPUs"},
       {"distributed.timeout", &r.timeout_seconds,
        "seconds after which a process that does not answer counts as lost"}});
}

std::string number(double value) {
  char text[32];
  const auto end = std::to_chars(text, text + sizeof text, value).ptr;
  return {text, end};
}

std::string text_of(bool value) {
  return value ? "true" : "false";
}
std::string text_of(int value) {
  return std::to_string(value);
}
std::string text_of(std::int64_t value) {
  return std::to_string(value);
}
std::string text_of(double value) {
  return number(value);
}
std::string text_of(const std::string& value) {
  return dump(Json(value));
}

template <class T>
std::string text_of(const std::vector<T>& values) {
  std::string out = "[";
  for (const T& value : values) out += (out.size() > 1 ? ", " : "") + text_of(value);
  return out + "]";
}

std::string section_of(std::string_view name) {
  const std::size_t dot = name.find('.');
  return std::string(name.substr(0, dot == std::string_view::npos ? 0 : dot));
}

}  // namespace

std::vector<Field> fields(Configuration& c) {
  std::vector<Field> all = {
      {"output", &c.output, "folder for everything that the run writes"},
      {"seed", &c.seed, "of all that is random"},
      {"device", &c.device, "cpu, cuda or cuda:N; cuda takes LOCAL_RANK's"},
      {"precision", &c.precision, "f32, or bf16: matrix products in bfloat16 (autocast)"},
      {"threads", &c.threads, "that compute; 0: one a core"},
  };
  add_model(c.model, all);
  add_loss(c.loss, all);
  add_data(c.data, all);
  add_augment(c.augment, all);
  add_optim(c.optim, all);
  add_run(c.run, all);
  return all;
}

std::string to_text(const Field& field) {
  return std::visit([](const auto* value) { return text_of(*value); }, field.value);
}

std::string to_yaml(const Configuration& configuration) {
  Configuration copy = configuration;
  std::string out, section;
  for (const Field& field : fields(copy)) {
    const std::string of = section_of(field.name);
    if (of != section) out += of + ":\n";
    section = of;
    const std::string key(field.name.substr(of.empty() ? 0 : of.size() + 1));
    out += (of.empty() ? "" : "  ") + key + ": " + to_text(field) + "  # " +
           std::string(field.help) + "\n";
  }
  return out;
}

std::string describe_fields(bool markdown) {
  Configuration defaults;
  std::string out = markdown ? "| key | default | |\n|---|---|---|\n" : "";
  for (const Field& field : fields(defaults)) {
    const std::string name(field.name), help(field.help), value = to_text(field);
    if (markdown) {
      out += "| `" + name + "` | `" + value + "` | " + help + " |\n";
    } else {
      out += "  " + name + ": " + value + "\n      " + help + "\n";
    }
  }
  return out;
}

}  // namespace blip::train
