#include "train/model/task.h"

#include "blip/base/error.h"

namespace blip::train {

std::shared_ptr<Task> make_task(const std::string& name, const TaskOptions&) {
  throw Error(ErrorCode::usage, "there is no task " + in_quotes(name) +
                                    "; expected pretrain, caption, retrieval, vqa or nlvr");
}

}  // namespace blip::train
