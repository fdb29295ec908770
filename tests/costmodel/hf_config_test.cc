#include "costmodel/hf_config.h"

#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

namespace shardwright {
namespace {

namespace fs = std::filesystem;

const char kProfiles[] = SHARDWRIGHT_SOURCE_DIR "/profiles";

// Small valid configs: each test changes a key or two.
Json llama_like(const char* model_type) {
  return Json{{"model_type", model_type}, {"vocab_size", 100},      {"hidden_size", 64},
              {"intermediate_size", 96},  {"num_hidden_layers", 4}, {"num_attention_heads", 4},
              {"num_key_value_heads", 2}, {"head_dim", 16},         {"max_position_embeddings", 32},
              {"rms_norm_eps", 1e-5},     {"rope_theta", 500000.0}};
}

Json gpt2() {
  return Json{{"model_type", "gpt2"}, {"vocab_size", 100}, {"n_embd", 64},
              {"n_layer", 4},         {"n_head", 4},       {"n_positions", 32}};
}

Json with_experts(const char* model_type, const char* experts_key) {
  Json json = llama_like(model_type);
  json.update({{experts_key, 8}, {"num_experts_per_tok", 2}, {"moe_intermediate_size", 24}});
  return json;
}

Json deepseek() {
  Json json = with_experts("deepseek_v3", "n_routed_experts");
  json.update({{"num_key_value_heads", 4},
               {"q_lora_rank", 24},
               {"kv_lora_rank", 16},
               {"qk_nope_head_dim", 8},
               {"qk_rope_head_dim", 4},
               {"v_head_dim", 12},
               {"first_k_dense_replace", 1}});
  return json;
}

Json changed(Json json, const char* key, const Json& value) {
  json[key] = value;
  return json;
}

Json without(Json json, const char* key) {
  json.erase(key);
  return json;
}

ModelSpec model_of(const Json& json) {
  Result<ModelSpec> model = read_hf_config(json, "m.json");
  EXPECT_TRUE(model.ok()) << model.error().line();
  return std::move(model).value();
}

std::vector<int64_t> windows_of(const ModelSpec& model) {
  std::vector<int64_t> windows;
  for (int64_t i = 0; i < model.layers(); ++i) windows.push_back(model.layer(i).attention.window);
  return windows;
}

std::vector<bool> sparse_layers_of(const ModelSpec& model) {
  std::vector<bool> sparse;
  for (int64_t i = 0; i < model.layers(); ++i) sparse.push_back(model.layer(i).moe.experts > 0);
  return sparse;
}

TEST(HfConfig, Gpt2) {
  const ModelSpec model = model_of(gpt2());
  EXPECT_EQ(model.name, "m");
  EXPECT_EQ(model.position, Position::kLearned);
  EXPECT_EQ(model.norm, Norm::kLayerNorm);
  EXPECT_EQ(model.activation, Activation::kGeluTanh);
  EXPECT_TRUE(model.tied_embeddings);
  EXPECT_EQ(model.layers(), 4);
  EXPECT_EQ(model.kinds.size(), 1u);
  EXPECT_EQ(model.layer(0).attention.head_dim, 16);
  EXPECT_EQ(model.layer(0).mlp, (MlpSpec{256, false, true})) << "n_inner defaults to 4 n_embd";
  EXPECT_EQ(model_of(changed(gpt2(), "n_inner", 80)).layer(0).mlp.ffn_hidden, 80);
}

TEST(HfConfig, LlamaAndItsDefaults) {
  const ModelSpec model = model_of(llama_like("llama"));
  EXPECT_EQ(model.hidden, 64);
  EXPECT_EQ(model.rope_theta, 500000.0);
  EXPECT_EQ(model.norm, Norm::kRmsNorm);
  EXPECT_FALSE(model.tied_embeddings);
  EXPECT_FALSE(model.rope_scaled);
  EXPECT_EQ(model.layer(3).attention.kv_heads, 2);
  EXPECT_EQ(model.layer(3).mlp, (MlpSpec{96, true, false}));

  Json sparse_config = llama_like("llama");
  for (const char* key : {"num_key_value_heads", "head_dim", "rms_norm_eps", "rope_theta"}) {
    sparse_config.erase(key);
  }
  const ModelSpec defaulted = model_of(sparse_config);
  EXPECT_EQ(defaulted.layer(0).attention.kv_heads, 4);
  EXPECT_EQ(defaulted.layer(0).attention.head_dim, 16);
  EXPECT_EQ(defaulted.norm_eps, 1e-6);
  EXPECT_EQ(defaulted.rope_theta, 10000.0);
}

TEST(HfConfig, HeadDimMayDifferFromHiddenOverHeads) {
  const ModelSpec model = model_of(changed(llama_like("llama"), "head_dim", 128));
  EXPECT_EQ(model.layer(0).attention.q_width(), 512);
}

TEST(HfConfig, AbsentAndNullDifferWhereTheClassHasADefault) {
  const Json mistral = llama_like("mistral");
  EXPECT_EQ(model_of(mistral).layer(0).attention.window, 4096);
  EXPECT_EQ(model_of(changed(mistral, "sliding_window", nullptr)).layer(0).attention.window, 0);
  const Json qwen3 = llama_like("qwen3");
  EXPECT_EQ(model_of(without(qwen3, "head_dim")).layer(0).attention.head_dim, 128);
  EXPECT_EQ(model_of(changed(qwen3, "head_dim", nullptr)).layer(0).attention.head_dim, 16);
  EXPECT_EQ(model_of(changed(qwen3, "num_key_value_heads", nullptr)).layer(0).attention.kv_heads,
            4);
}

TEST(HfConfig, Qwen) {
  const ModelSpec qwen2 = model_of(llama_like("qwen2"));
  EXPECT_TRUE(qwen2.layer(0).attention.qkv_bias);
  EXPECT_FALSE(qwen2.layer(0).attention.out_bias);
  const ModelSpec qwen3 = model_of(llama_like("qwen3"));
  EXPECT_TRUE(qwen3.layer(0).attention.qk_norm);
  EXPECT_FALSE(qwen3.layer(0).attention.qkv_bias);
  Json sliding = llama_like("qwen2");
  sliding.update({{"sliding_window", 7}, {"max_window_layers", 3}});
  EXPECT_EQ(windows_of(model_of(sliding)), (std::vector<int64_t>{0, 0, 0, 0}));
  sliding["use_sliding_window"] = true;
  EXPECT_EQ(windows_of(model_of(sliding)), (std::vector<int64_t>{0, 0, 0, 7}));
}

TEST(HfConfig, Phi3TurnsPartOfAHead) {
  const Json phi3 = llama_like("phi3");
  EXPECT_EQ(model_of(phi3).rotary_fraction, 1.0);
  EXPECT_EQ(model_of(changed(phi3, "partial_rotary_factor", 0.75)).rotary_fraction, 0.75);
  EXPECT_EQ(model_of(changed(phi3, "sliding_window", 20)).layer(0).attention.window, 20);
}

TEST(HfConfig, GptNeox) {
  Json json = without(llama_like("gpt_neox"), "num_key_value_heads");
  const ModelSpec model = model_of(changed(json, "rotary_pct", 0.5));
  EXPECT_EQ(model.norm, Norm::kLayerNorm);
  EXPECT_EQ(model.activation, Activation::kGeluErf);
  EXPECT_EQ(model.rotary_fraction, 0.5);
  EXPECT_TRUE(model.parallel_residual);
  EXPECT_TRUE(model.layer(0).attention.qkv_bias);
  EXPECT_EQ(model.layer(0).mlp, (MlpSpec{96, false, true}));
  EXPECT_EQ(model_of(changed(json, "rotary_emb_base", 5000)).rope_theta, 5000.0);
}

TEST(HfConfig, Gemma2) {
  const ModelSpec model = model_of(changed(llama_like("gemma2"), "sliding_window", 9));
  EXPECT_TRUE(model.tied_embeddings);
  EXPECT_EQ(model.embedding_scale, 8.0);
  EXPECT_EQ(model.attention_softcap, 50.0);
  EXPECT_EQ(model.logit_softcap, 30.0);
  EXPECT_EQ(model.activation, Activation::kGeluTanh);
  EXPECT_EQ(model.layer(0).norms, 4);
  EXPECT_EQ(windows_of(model), (std::vector<int64_t>{9, 0, 9, 0}));
  const Json uncapped = changed(llama_like("gemma2"), "attn_logit_softcapping", nullptr);
  EXPECT_EQ(model_of(uncapped).attention_softcap, 0.0);
}

TEST(HfConfig, Mixtral) {
  const ModelSpec model = model_of(with_experts("mixtral", "num_local_experts"));
  EXPECT_EQ(model.layer(0).moe.experts, 8);
  EXPECT_EQ(model.layer(0).moe.top_k, 2);
  EXPECT_EQ(model.layer(0).moe.ffn_hidden, 96);
  EXPECT_EQ(model.layer(0).attention.window, 0);
}

TEST(HfConfig, Qwen3MoeMixesDenseAndSparseLayers) {
  Json json = with_experts("qwen3_moe", "num_experts");
  EXPECT_EQ(sparse_layers_of(model_of(json)), std::vector<bool>(4, true));
  json.update({{"decoder_sparse_step", 2}, {"mlp_only_layers", {3}}});
  const ModelSpec model = model_of(json);
  EXPECT_EQ(sparse_layers_of(model), (std::vector<bool>{false, true, false, false}));
  EXPECT_EQ(model.kinds.size(), 2u);
  EXPECT_EQ(model.layer(0).mlp.ffn_hidden, 96);
  EXPECT_EQ(model.layer(1).moe.ffn_hidden, 24);
}

TEST(HfConfig, DeepseekV3) {
  Json json = deepseek();
  json.update({{"n_shared_experts", 2}, {"num_nextn_predict_layers", 1}});
  const ModelSpec model = model_of(json);
  EXPECT_EQ(sparse_layers_of(model), (std::vector<bool>{false, true, true, true}));
  EXPECT_EQ(model.mtp_layers, 1);
  EXPECT_EQ(model.layer(1).moe.shared_ffn_hidden, 48);
  EXPECT_TRUE(model.layer(1).moe.score_correction);
  const AttentionSpec& attention = model.layer(0).attention;
  EXPECT_TRUE(attention.mla());
  EXPECT_EQ(attention.head_dim, 12);
  EXPECT_EQ(attention.kv_heads, 4);
  EXPECT_EQ(sparse_layers_of(model_of(changed(json, "moe_layer_freq", 2))),
            (std::vector<bool>{false, false, true, false}));
}

TEST(HfConfig, GptOssAlternatesWindows) {
  const Json json = with_experts("gpt_oss", "num_local_experts");
  const ModelSpec model = model_of(json);
  EXPECT_EQ(windows_of(model), (std::vector<int64_t>{128, 0, 128, 0}));
  EXPECT_TRUE(model.layer(0).attention.sinks);
  EXPECT_TRUE(model.layer(0).moe.expert_bias);
  const char* full = "full_attention";
  const Json listed = changed(json, "layer_types", {full, full, "sliding_attention", full});
  EXPECT_EQ(windows_of(model_of(listed)), (std::vector<int64_t>{0, 0, 128, 0}));
}

TEST(HfConfig, RopeScaling) {
  const Json json = llama_like("llama");
  const auto scaled = [&](const char* key, const Json& value) {
    return model_of(changed(json, key, value)).rope_scaled;
  };
  EXPECT_FALSE(scaled("rope_scaling", nullptr));
  EXPECT_FALSE(scaled("rope_scaling", {{"rope_type", "default"}}));
  EXPECT_TRUE(scaled("rope_scaling", {{"rope_type", "llama3"}, {"factor", 8.0}}));
  EXPECT_TRUE(scaled("rope_scaling", {{"type", "yarn"}, {"factor", 40}}));
  EXPECT_TRUE(scaled("rope_parameters", {{"rope_type", "yarn"}}));
  const Json newer = {{"rope_type", "default"}, {"rope_theta", 777.0}};
  EXPECT_EQ(model_of(changed(without(json, "rope_theta"), "rope_parameters", newer)).rope_theta,
            777.0);
}

TEST(HfConfig, UnknownModelTypeListsTheKnownOnes) {
  const Result<ModelSpec> model = read_hf_config(llama_like("bert"), "m.json");
  ASSERT_FALSE(model.ok());
  EXPECT_EQ(model.error().line(),
            "m.json: model_type: found \"bert\", expected one of deepseek_v3, gemma2, gpt2, "
            "gpt_neox, gpt_oss, llama, mistral, mixtral, phi3, qwen2, qwen3, qwen3_moe");
}

struct BadConfig {
  Json json;
  const char* field;  // that the error must name
};

// REQUIRES: `field` is wrong in every config.
void expect_refused(const std::vector<BadConfig>& configs) {
  for (const BadConfig& bad : configs) {
    const Result<ModelSpec> model = read_hf_config(bad.json, "m.json");
    ASSERT_FALSE(model.ok()) << bad.field << " in " << bad.json;
    EXPECT_EQ(model.error().field, bad.field) << model.error().line();
    EXPECT_EQ(model.error().file, "m.json");
  }
}

TEST(HfConfigRefuses, MissingFields) {
  for (const char* key : {"model_type", "vocab_size", "hidden_size", "intermediate_size",
                          "num_hidden_layers", "num_attention_heads", "max_position_embeddings"}) {
    expect_refused({{without(llama_like("llama"), key), key}});
    expect_refused({{changed(llama_like("llama"), key, nullptr), key}});
  }
  for (const char* key : {"vocab_size", "n_embd", "n_layer", "n_head", "n_positions"}) {
    expect_refused({{without(gpt2(), key), key}});
  }
  for (const char* key : {"kv_lora_rank", "qk_nope_head_dim", "v_head_dim", "n_routed_experts",
                          "num_experts_per_tok", "moe_intermediate_size"}) {
    expect_refused({{without(deepseek(), key), key}});
  }
}

TEST(HfConfigRefuses, WrongTypesAndRanges) {
  const Json llama = llama_like("llama");
  for (const char* key : {"vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers",
                          "num_attention_heads", "num_key_value_heads", "head_dim"}) {
    for (const Json& value : {Json(0), Json(-4), Json(64.0), Json("64"), Json(true), Json::array(),
                              Json::object(), Json(1000000000), Json(UINT64_MAX)}) {
      expect_refused({{changed(llama, key, value), key}});
    }
  }
  expect_refused(
      {{changed(llama, "model_type", 3), "model_type"},
       {changed(llama, "hidden_act", "tanh"), "hidden_act"},
       {changed(llama, "tie_word_embeddings", 1), "tie_word_embeddings"},
       {changed(llama, "rope_theta", 0), "rope_theta"},
       {changed(llama, "rope_scaling", "yarn"), "rope_scaling"},
       {changed(llama, "rope_parameters", {{"rope_theta", -1}}), "rope_parameters.rope_theta"},
       {changed(llama, "rms_norm_eps", -1e-6), "rms_norm_eps"},
       {changed(llama, "head_dim", 15), "head_dim"}});
}

TEST(HfConfigRefuses, Contradictions) {
  const Json llama = llama_like("llama");
  const Json gpt_oss = with_experts("gpt_oss", "num_local_experts");
  Json windowless = changed(gpt_oss, "sliding_window", nullptr);
  expect_refused(
      {{changed(without(llama, "head_dim"), "hidden_size", 66), "num_attention_heads"},
       {changed(gpt2(), "n_head", 5), "n_head"},
       {changed(llama, "num_key_value_heads", 3), "num_key_value_heads"},
       {changed(llama, "num_key_value_heads", 8), "num_key_value_heads"},
       {changed(gpt_oss, "num_experts_per_tok", 9), "num_experts_per_tok"},
       {changed(gpt_oss, "layer_types", {"full_attention"}), "layer_types"},
       {changed(gpt_oss, "layer_types", Json(std::vector<Json>(4, "linear"))), "layer_types[0]"},
       {changed(gpt_oss, "layer_types", Json(std::vector<Json>(4, 1))), "layer_types[0]"},
       {windowless, "sliding_window"},
       {changed(deepseek(), "num_key_value_heads", 2), "num_key_value_heads"},
       {changed(deepseek(), "first_k_dense_replace", 5), "first_k_dense_replace"},
       {changed(deepseek(), "qk_rope_head_dim", 3), "qk_rope_head_dim"},
       {changed(with_experts("qwen3_moe", "num_experts"), "mlp_only_layers", {4}),
        "mlp_only_layers[0]"}});
}

TEST(HfConfigRefuses, ModelsTooLargeToCount) {
  Json json = with_experts("qwen3_moe", "num_experts");
  json.update({{"hidden_size", 1 << 18},
               {"moe_intermediate_size", 1 << 20},
               {"num_experts", 1 << 14},
               {"num_hidden_layers", 4096}});
  expect_refused({{json, ""}});
}

TEST(HfConfigRefuses, DocumentsThatAreNoObject) {
  for (const Json& json : {Json(nullptr), Json(3), Json("llama"), Json::array({1})}) {
    EXPECT_FALSE(read_hf_config(json, "m.json").ok()) << json;
  }
}

// Every value of every config replaced by each of a list of odd ones: an error or a model, never a
// crash. The sanitizers watch.
TEST(HfConfigRefuses, OddValuesWithoutCrashing) {
  std::vector<Json> configs = {gpt2(), deepseek(), with_experts("mixtral", "num_local_experts"),
                               with_experts("qwen3_moe", "num_experts"),
                               with_experts("gpt_oss", "num_local_experts")};
  for (const char* type : {"llama", "mistral", "qwen2", "qwen3", "gpt_neox", "gemma2", "phi3"}) {
    configs.push_back(llama_like(type));
  }
  const std::vector<Json> odd = {nullptr,
                                 true,
                                 0,
                                 1,
                                 3,
                                 -1,
                                 1e308,
                                 4096,
                                 INT64_MAX,
                                 UINT64_MAX,
                                 "",
                                 Json::array(),
                                 Json::object(),
                                 Json::array({nullptr})};
  for (const Json& config : configs) {
    for (const auto& item : config.items()) {
      for (const Json& value : odd) {
        const auto model = read_hf_config(changed(config, item.key().c_str(), value), "m.json");
        EXPECT_TRUE(!model.ok() || count_active_parameters(*model) > 0);
      }
    }
  }
}

TEST(LoadModel, FindsFilesFoldersAndShippedNames) {
  const fs::path folder = fs::path(testing::TempDir()) / "hf_config_test" / "some-model";
  fs::create_directories(folder);
  ASSERT_FALSE(
      write_file_atomically((folder / "config.json").string(), llama_like("llama").dump()));
  EXPECT_EQ(load_model(folder.string())->name, "some-model");
  EXPECT_EQ(load_model(folder.string() + "/")->name, "some-model");
  EXPECT_EQ(load_model((folder / "config.json").string())->name, "some-model");
  EXPECT_EQ(load_model("tiny-gpt", kProfiles)->name, "tiny-gpt");
  EXPECT_EQ(load_model(std::string(kProfiles) + "/models/tiny-gpt.json")->name, "tiny-gpt");
  fs::remove_all(folder.parent_path());
}

TEST(LoadModel, RefusesWhatIsNotThere) {
  EXPECT_FALSE(load_model("").ok());
  EXPECT_FALSE(load_model("tiny-gpt").ok()) << "no profiles_dir";
  EXPECT_FALSE(load_model("../models/tiny-gpt", kProfiles).ok()) << "not a bare name";
  EXPECT_FALSE(load_model(kProfiles).ok()) << "a folder without config.json";
  EXPECT_FALSE(load_model("tiny-gpt", "/none").ok());
  EXPECT_FALSE(load_model(std::string(100000, 'x'), kProfiles).ok());
  const Result<ModelSpec> none = load_model("a\nb", kProfiles);
  ASSERT_FALSE(none.ok());
  EXPECT_EQ(none.error().line().find('\n'), std::string::npos);
  EXPECT_NE(none.error().expected.find("tiny-gpt, tiny-llama"), std::string::npos);
}

TEST(LoadModel, ReadsEveryShippedModel) {
  const std::vector<std::string> names = shipped_models(kProfiles);
  EXPECT_GE(names.size(), 12u);
  for (const std::string& name : names) {
    const Result<ModelSpec> model = load_model(name, kProfiles);
    EXPECT_TRUE(model.ok()) << model.error().line();
  }
}

}  // namespace
}  // namespace shardwright
