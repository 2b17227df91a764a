#include <cstdio>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "apps/cli/commands.h"
#include "blip/base/error.h"

namespace blip::cli {
namespace {

struct Example {
  std::string_view command;  ///< "index build"
  std::string_view says;     ///< what it does
  std::string_view line;
};

constexpr Example kExamples[] = {
    {"caption", "describe a picture", "blip caption photo.jpg"},
    {"caption", "every picture below a folder, with scores, one JSON object a line",
     "blip caption -r photos/ --num-beams 3 --format jsonl > captions.jsonl"},
    {"caption", "a .txt beside every picture that has none; run it again to go on",
     "blip caption -r photos/ --sidecar .txt --model blip-image-captioning-large"},
    {"caption", "captions before the tags that lie beside the pictures",
     "blip caption -r photos/ --sidecar .txt --prepend --prefix \"a photo of \""},
    {"caption", "the best of 40 sampled captions, as another model judges them",
     "blip caption -r photos/ --metadata photos/metadata.jsonl --captions 40 --rank itm "
     "--rank-model blip-itm-base-coco"},
    {"describe", "a long description of a picture",
     "blip describe photo.jpg --model blip-image-captioning-large"},
    {"describe", "only what another model agrees with, each sentence with its confidence",
     "blip describe photo.jpg --recipe faithful --matcher blip-itm-base-coco --format json --model "
     "blip-image-captioning-large"},
    {"describe", "fewer beams, one round, and a language model of yours to polish the text",
     "blip describe photo.jpg --detail low --set describe.num_beams=4 --polish-url "
     "http://localhost:8080/v1"},
    {"serve", "a page for people and an API for programs, at http://127.0.0.1:29999/",
     "blip serve --model blip-image-captioning-large"},
    {"serve", "for a whole network, with a secret, and questions as well",
     "BLIP_TOKEN=... blip serve --host 0.0.0.0 --model blip-image-captioning-large "
     "--add-model blip-vqa-base"},
    {"capfilt", "web data in shards, cleaned as in the paper",
     "blip capfilt 'shards/{00000..00099}.tar' clean/ --captioner model_base_caption.pth --filter "
     "model_base_retrieval_coco.pth"},
    {"capfilt", "a list of pictures with their texts, three beams' texts, COCO added as it is",
     "blip capfilt pairs.jsonl clean.jsonl --method beam --human coco.json --human-images coco/ "
     "--captioner blip-image-captioning-base --filter blip-itm-base-coco"},
    {"capfilt", "one of four workers (0/4 to 3/4), on this machine or another",
     "blip capfilt pairs.jsonl clean.jsonl --shard 0/4 --captioner blip-image-captioning-base "
     "--filter blip-itm-base-coco"},
    {"bootstrap", "the paper's whole way: a model from web pairs, which it cleans itself",
     "blip bootstrap --noisy web.jsonl --noisy-images web/ --clean coco_karpathy_train.json "
     "--clean-images coco/ --output run pretrain.model.vit=deit-base "
     "pretrain.model.bert=bert-base-uncased"},
    {"bootstrap", "a small model on two cores, in two rounds; first look what would run",
     "blip bootstrap --noisy web.jsonl --clean clean.jsonl --output run --rounds 2 "
     "--config-pretrain small_pretrain.yaml --config-caption small_caption.yaml "
     "--config-retrieval small_retrieval.yaml train.model.tokenizer=tokenizer/ --plan"},
    {"vqa", "two questions about one picture",
     "blip vqa photo.jpg --question \"how many people are there?\" --question \"is it raining?\" "
     "--model blip-vqa-base"},
    {"match", "how well two texts describe a picture",
     "blip match photo.jpg --text \"a cat on a sofa\" --text \"a dog\" --model "
     "blip-itm-base-coco"},
    {"nlvr", "whether a statement about two pictures is true",
     "blip nlvr left.jpg right.jpg --text \"both pictures show a dog\" --model "
     "model_base_nlvr.pth"},
    {"embed", "the vectors of a folder's pictures, for another program",
     "blip embed photos/ -o photos.npy --model blip-itm-base-coco"},
    {"index build", "an index of all pictures below a folder",
     "blip index build -r photos/ -o photos.index --model blip-itm-base-coco"},
    {"index build", "an index of the lines of a file",
     "blip index build --texts captions.txt -o captions.index --model blip-itm-base-coco"},
    {"index add", "new and changed pictures of the folder",
     "blip index add photos.index -r photos/"},
    {"index info", "what is in it, and whether all of it is whole",
     "blip index info photos.index --verify"},
    {"search", "the ten pictures nearest to a text",
     "blip search photos.index \"a boat at sunset\""},
    {"search", "the same, the first 64 judged again by the exact matcher",
     "blip search photos.index \"a boat at sunset\" --rerank 64"},
    {"search", "pictures like this one", "blip search photos.index --image photo.jpg -k 5"},
    {"classify", "which of three labels fits",
     "blip classify photo.jpg --label cat --label dog --label horse --model blip-itm-base-coco"},
    {"classify", "labels of a file, in two texts each",
     "blip classify photos/ --labels birds.txt --template \"a photo of a {}\" "
     "--template \"a {} in a tree\" --model blip-itm-base-coco"},
    {"heatmap", "where in a picture a word looks",
     "blip heatmap photo.jpg --text \"a dog on a beach\" --word dog -o dog.png --model "
     "blip-itm-base-coco"},
    {"eval caption", "the metrics of a file of captions, without any model",
     "blip eval caption --annotations captions_val2014.json --results captions.json"},
    {"eval caption", "captions of a folder's pictures with the paper's settings, and their metrics",
     "blip eval caption --annotations coco_karpathy_test.json --images coco/ -o captions.json "
     "--preset paper --model blip-image-captioning-large"},
    {"eval retrieval", "recall both ways, as the authors measure it",
     "blip eval retrieval --annotations coco_karpathy_test.json --images coco/ "
     "-o scores.safetensors --model model_base_retrieval_coco.pth"},
    {"eval vqa", "the accuracy of answers that are ranked, as in the paper",
     "blip eval vqa --annotations annotations.json --questions questions.json --answers "
     "answer_list.json --images coco/ -o answers.json --model model_base_vqa_capfilt_large.pth"},
    {"eval nlvr", "accuracy and consistency",
     "blip eval nlvr --annotations test1.json --images test1/ -o predictions.csv --model "
     "model_base_nlvr.pth"},
    {"convert", "a folder of half the size, which starts at once",
     "blip convert model_large_caption.pth blip-large-bf16 --precision bf16"},
    {"quantize", "int8 weights, judged on pictures of yours",
     "blip quantize blip-image-captioning-base blip-base-int8 --calibrate photos/"},
    {"compare", "how far bf16 is from f32",
     "blip compare blip-image-captioning-base photos/ --precision bf16 --against f32"},
    {"bench", "what each part of a model takes on this machine",
     "blip bench photo.jpg --model blip-image-captioning-base"},
    {"train", "a captioner of your own pictures, each with a .txt beside it (blip train --help)",
     "blip train caption --config caption_coco.yaml output=run "
     "model.init=blip-image-captioning-base "
     "data.train=[photos/]"},
    {"mcp", "captions for a program that speaks MCP: it starts this command itself",
     "blip mcp --model blip-image-captioning-large"},
    {"tokenize", "the token ids of a text", "blip tokenize \"two blue crabs\""},
    {"preprocess", "pictures as the model sees them",
     "blip preprocess photo.jpg -o pixels.safetensors"},
    {"inspect", "what a checkpoint is", "blip inspect blip-image-captioning-base"},
    {"help", "what a command does, with examples", "blip help search"},
    {"completion", "let bash complete commands and options, now and in later sessions",
     "blip completion bash > ~/.local/share/bash-completion/completions/blip"},
};

/// Those of "index" are the ones of its subcommands.
void print_examples(const std::string& command) {
  for (const Example& example : kExamples) {
    if (example.command != command && !example.command.starts_with(command + " ")) continue;
    std::printf("  # %s\n  %s\n", std::string(example.says).c_str(),
                std::string(example.line).c_str());
  }
}

void print_overview(const CLI::App& app) {
  std::printf("Usage: blip COMMAND [OPTIONS]\n\nCommands:\n");
  for (const CLI::App* command : app.get_subcommands([](const CLI::App*) { return true; })) {
    std::printf("  %-12s %s\n", command->get_name().c_str(), command->get_description().c_str());
  }
  std::printf("\nExamples:\n");
  for (const char* command : {"caption", "vqa", "search"}) print_examples(command);
  std::printf("\nblip help COMMAND shows a command's options and examples.\n");
}

/// The subcommand of that name. Throws Error{usage}; `path` is the way to `app`.
const CLI::App& subcommand(const CLI::App& app, const std::string& name, const std::string& path) {
  const auto found =
      app.get_subcommands([&](const CLI::App* command) { return command->get_name() == name; });
  if (found.empty()) {
    throw Error(ErrorCode::usage,
                "there is no command " + in_quotes(path + name) + " (blip help lists them)");
  }
  return *found.front();
}

}  // namespace

void add_help_command(CLI::App& app, int&) {
  CLI::App* command =
      app.add_subcommand("help", "Show what a command does, its options, and examples");
  const auto topic = std::make_shared<std::vector<std::string>>();
  command->add_option("COMMAND", *topic, "such as search, or index build");
  command->callback([&app, topic] {
    if (topic->empty()) return print_overview(app);
    const CLI::App* found = &app;
    std::string path;  // of the command above
    std::string above;
    for (const std::string& word : *topic) {
      found = &subcommand(*found, word, path);
      above = path;
      path += word + " ";
    }
    path.pop_back();
    above = above.empty() ? "blip" : "blip " + above.substr(0, above.size() - 1);
    std::printf("%s\nExamples:\n", found->help(above).c_str());
    print_examples(path);
  });
}

}  // namespace blip::cli
