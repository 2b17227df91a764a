#pragma once

#include <string_view>

#include "blip/base/json.h"

namespace blip {

/// What a checkpoint was trained to do.
enum class Architecture {
  captioning,  ///< vision encoder + text decoder (BlipForConditionalGeneration, blip_decoder)
  question_answering,  ///< + text encoder (BlipForQuestionAnswering, blip_vqa)
  retrieval,           ///< ITC and ITM heads (BlipForImageTextRetrieval, blip_retrieval, blip_itm)
  dual_encoder,        ///< transformers' CLIP-like BlipModel
  nlvr,                ///< visual reasoning over two pictures (blip_nlvr)
  pretrain,            ///< all three heads (blip_pretrain)
};

/// "captioning", "question_answering", ...
std::string_view name(Architecture architecture) noexcept;

/// The ViT. Defaults are those of transformers' BlipVisionConfig.
struct VisionConfig {
  int hidden_size = 768;
  int intermediate_size = 3072;
  int num_hidden_layers = 12;
  int num_attention_heads = 12;
  int image_size = 384;
  int patch_size = 16;
  float layer_norm_eps = 1e-5f;
};

/// The BERT that all text roles share. Defaults are those of transformers' BlipTextConfig.
struct TextConfig {
  int vocab_size = 30524;
  int hidden_size = 768;
  /// Width of what cross-attention attends to: the picture's. Only the decoder of
  /// question_answering attends to the text encoder instead, whose width is hidden_size.
  int encoder_hidden_size = 768;
  int intermediate_size = 3072;
  int num_hidden_layers = 12;
  int num_attention_heads = 8;
  int max_position_embeddings = 512;
  float layer_norm_eps = 1e-12f;
  int bos_token_id = 30522;  ///< [DEC]
  int pad_token_id = 0;
  int sep_token_id = 102;  ///< ends a caption
};

struct BlipConfig {
  Architecture architecture = Architecture::captioning;
  VisionConfig vision;
  TextConfig text;
  int image_text_hidden_size = 256;  ///< width of image_feat and text_feat (retrieval, pretrain)
  int projection_dim = 512;          ///< the same for the dual encoder

  /// Whether it has a decoder that describes pictures.
  bool writes_captions() const {
    return architecture == Architecture::captioning || architecture == Architecture::pretrain;
  }

  /// From config.json; what it leaves out has transformers' defaults, and encoder_hidden_size is
  /// always the vision width, as transformers' BlipConfig sets it.
  /// Throws Error{unsupported} for a model_type other than blip, an unknown architecture or
  /// activation; Error{bad_model} for a missing or impossible number, naming it.
  static BlipConfig from_json(const Json& json);
  /// The config.json that from_json() reads back. Architectures that transformers lacks have the
  /// authors' names.
  Json to_json() const;
};

/// Throws Error{bad_model} naming the number that is out of range, or does not divide another as it
/// must. After it, the number of patches and 3 * hidden_size fit an int. `where` names the origin.
void validate(const BlipConfig& config, std::string_view where);

}  // namespace blip
