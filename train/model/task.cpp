#include "train/model/task.h"

#include "blip/base/error.h"
#include "train/model/caption.h"
#include "train/model/nlvr.h"
#include "train/model/pretrain.h"
#include "train/model/retrieval.h"
#include "train/model/vqa.h"

namespace blip::train {

std::shared_ptr<Task> make_task(const std::string& name, const TaskOptions& options) {
  if (name == "pretrain") return std::make_shared<Pretrain>(options);
  if (name == "caption") return std::make_shared<Captioner>(options);
  if (name == "retrieval") return std::make_shared<Retrieval>(options);
  if (name == "vqa") return std::make_shared<Vqa>(options);
  if (name == "nlvr") return std::make_shared<Nlvr>(options);
  throw Error(ErrorCode::usage, "there is no task " + in_quotes(name) +
                                    "; expected pretrain, caption, retrieval, vqa or nlvr");
}

}  // namespace blip::train
