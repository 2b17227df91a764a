#pragma once

namespace blip {

/// What stands in front of a text that looks at a picture. The authors put [ENC] there to question,
/// to match and to reason; transformers always leaves BERT's [CLS].
enum class FirstToken {
  checkpoint,  ///< what the code that the checkpoint comes from puts there
  cls,
  enc,
};

}  // namespace blip
