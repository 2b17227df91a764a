#!/usr/bin/env python3
"""transformers loads what the trainer saves and computes the same; torch.load reads its .pth.

    train_weights_test.py TRAIN_EXPORT

Says that it was skipped, and why, where transformers or torch is missing."""

import pathlib
import subprocess
import sys
import tempfile
import unittest

EXPORT = sys.argv.pop(1) if len(sys.argv) > 1 else None
TOLERANCE = dict(atol=2e-5, rtol=2e-5)
# The authors' names of some tensors of each task, and transformers'.
SAME = {
    "visual_encoder.norm.weight": "vision_model.post_layernorm.weight",
    "visual_encoder.blocks.1.attn.qkv.weight": "vision_model.encoder.layers.1.self_attn.qkv.weight",
    "visual_encoder.pos_embed": "vision_model.embeddings.position_embedding",
}

try:
    import safetensors.torch
    import torch
    import transformers
except ImportError as missing:
    print(f"SKIPPED: {missing}")
    sys.exit(77)


class TrainedWeights(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.root = pathlib.Path(cls.folder.name)
        subprocess.run([EXPORT, cls.folder.name], check=True)
        transformers.logging.set_verbosity_error()

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def load(self, model_class, task):
        model, report = model_class.from_pretrained(self.root / task, output_loading_info=True)
        self.assertFalse(report["missing_keys"], "transformers found no such tensor")
        self.assertFalse(report["unexpected_keys"])
        self.assertFalse(report["mismatched_keys"])
        outputs = safetensors.torch.load_file(self.root / task / "outputs.safetensors")
        return model.eval(), outputs

    def assert_close(self, got, wanted, mask=None):
        if mask is not None:  # what stands at padding means nothing
            got, wanted = got * mask.unsqueeze(-1), wanted * mask.unsqueeze(-1)
        torch.testing.assert_close(got, wanted, **TOLERANCE)

    def test_caption(self):
        model, at = self.load(transformers.BlipForConditionalGeneration, "caption")
        with torch.no_grad():
            got = model(pixel_values=at["pixel_values"], input_ids=at["input_ids"], attention_mask=at["attention_mask"])
        self.assert_close(got.image_embeds, at["image_embeds"])
        self.assert_close(got.logits, at["logits"], at["attention_mask"])

    def test_vqa(self):
        model, at = self.load(transformers.BlipForQuestionAnswering, "vqa")
        with torch.no_grad():
            embeds = model.vision_model(at["pixel_values"])[0]
            states = model.text_encoder(input_ids=at["input_ids"], attention_mask=at["attention_mask"],
                                        encoder_hidden_states=embeds, return_dict=True).last_hidden_state
            self.assert_close(states, at["question_states"], at["attention_mask"])
            # One question at a time without its padding, which transformers 5 lets answers see.
            for i, mask in enumerate(at["attention_mask"]):
                length = int(mask.sum())
                logits = model.text_decoder(input_ids=at["input_ids"][i : i + 1, :length],
                                            attention_mask=mask[None, :length],
                                            encoder_hidden_states=states[i : i + 1, :length]).logits
                self.assert_close(logits[0], at["logits"][i, :length])

    def test_retrieval(self):
        model, at = self.load(transformers.BlipForImageTextRetrieval, "retrieval")
        inputs = {key: at[key] for key in ("pixel_values", "input_ids", "attention_mask")}
        with torch.no_grad():
            self.assert_close(model(**inputs, use_itm_head=True).itm_score, at["itm_logits"])
            self.assert_close(model(**inputs, use_itm_head=False).itm_score, at["similarities"])

    def test_pretrained_opens_as_both_classes(self):
        for model_class in (transformers.BlipForConditionalGeneration, transformers.BlipForImageTextRetrieval):
            _, report = model_class.from_pretrained(self.root / "pretrain", output_loading_info=True)
            self.assertFalse(report["missing_keys"], model_class)
            self.assertFalse(report["mismatched_keys"], model_class)

    def test_authors_files(self):
        for task in ("caption", "vqa", "retrieval", "pretrain", "nlvr"):
            model = torch.load(self.root / task / "model.pth", weights_only=True)["model"]
            ours = safetensors.torch.load_file(self.root / task / "model.safetensors")
            for authors, name in SAME.items():
                self.assertTrue(torch.equal(model[authors], ours[name]), f"{task}: {authors}")
            if task in ("pretrain", "retrieval"):
                self.assertEqual(model["temp"].shape, torch.Size([]))
                self.assertEqual(model["image_queue"].shape, (8, 16))
                self.assertTrue(torch.isfinite(model["visual_encoder_m.norm.weight"]).all())
            if task == "pretrain":
                shared = "encoder.layer.0.crossattention.self.key.weight"
                self.assertEqual(model["text_encoder." + shared].data_ptr(),
                                 model["text_decoder.bert." + shared].data_ptr(), "written twice")
                self.assertEqual(model["text_encoder.embeddings.word_embeddings.weight"].data_ptr(),
                                 model["text_decoder.cls.predictions.decoder.weight"].data_ptr())


if __name__ == "__main__":
    unittest.main()
