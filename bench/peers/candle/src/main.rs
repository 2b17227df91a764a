//! candle, f32, greedy: candle_peer CHECKPOINT PIXEL_VALUES NEW_TOKENS
//!
//! PIXEL_VALUES is what `blip preprocess` writes. Runs by the protocol of ../protocol.py.
use anyhow::Result;
use candle_core::{DType, Device, Tensor, D};
use candle_nn::VarBuilder;
use candle_transformers::models::blip::{BlipForConditionalGeneration, Config};
use candle_transformers::models::{blip_text, blip::VisionConfig};
use std::io::BufRead;
use std::time::Instant;

const DEC: u32 = 30522;
const SEP: u32 = 102;

/// The shape of the checkpoint, which candle's own Config reads from no file.
fn config(folder: &str) -> Result<Config> {
    let json: serde_json::Value = serde_json::from_reader(std::fs::File::open(format!("{folder}/config.json"))?)?;
    let number = |part: &str, key: &str| json[part][key].as_u64().unwrap_or(0) as usize;
    let mut config = Config::image_captioning_large();
    config.vision_config = VisionConfig {
        hidden_size: number("vision_config", "hidden_size"),
        intermediate_size: number("vision_config", "intermediate_size"),
        num_hidden_layers: number("vision_config", "num_hidden_layers"),
        num_attention_heads: number("vision_config", "num_attention_heads"),
        ..config.vision_config
    };
    config.text_config = blip_text::Config {
        encoder_hidden_size: number("vision_config", "hidden_size"),
        num_attention_heads: number("text_config", "num_attention_heads"),
        ..config.text_config
    };
    Ok(config)
}

/// The best next token; [SEP] is not allowed, so that every program writes as many.
fn best(logits: &Tensor) -> Result<u32> {
    let mut row = logits.flatten_all()?.to_vec1::<f32>()?;
    row[SEP as usize] = f32::NEG_INFINITY;
    Ok(Tensor::new(row, &Device::Cpu)?.argmax(D::Minus1)?.to_scalar::<u32>()?)
}

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().collect();
    let new_tokens: usize = arguments[3].parse()?;
    let device = Device::Cpu;
    let weights = format!("{}/model.safetensors", arguments[1]);
    let weights = unsafe { VarBuilder::from_mmaped_safetensors(&[weights], DType::F32, &device)? };
    let mut model = BlipForConditionalGeneration::new(&config(&arguments[1])?, weights)?;
    let pixels = candle_core::safetensors::load(&arguments[2], &device)?["pixel_values"].clone();
    for _ in std::io::stdin().lock().lines() {
        let start = Instant::now();
        let image = pixels.apply(model.vision_model())?;
        let vision = start.elapsed().as_secs_f64();
        model.reset_kv_cache();
        let mut ids = vec![DEC];
        for step in 0..new_tokens {
            let from = if step == 0 { 0 } else { ids.len() - 1 };
            let input = Tensor::new(&ids[from..], &device)?.unsqueeze(0)?;
            let logits = model.text_decoder().forward(&input, &image)?;
            let last = logits.squeeze(0)?.get(logits.dim(1)? - 1)?;
            ids.push(best(&last)?);
        }
        let total = start.elapsed().as_secs_f64();
        println!("{}", serde_json::json!({"vision": vision, "total": total, "ids": ids}));
    }
    Ok(())
}
