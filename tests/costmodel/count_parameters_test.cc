// Parameter counts against closed forms and against the totals that the checkpoints themselves
// have.
#include <gtest/gtest.h>

#include <cctype>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "costmodel/hf_config.h"

namespace shardwright {
namespace {

namespace fs = std::filesystem;

const char kProfiles[] = SHARDWRIGHT_SOURCE_DIR "/profiles";

ModelSpec model_of(const char* text) {
  const Result<Json> json = parse_json(text, "test.json");
  Result<ModelSpec> model = read_hf_config(json.value(), "test.json");
  EXPECT_TRUE(model.ok()) << model.error().line();
  return std::move(model).value();
}

int64_t total_of(const char* text) { return count_parameters(model_of(text)).total(); }

struct Published {
  const char* shipped;  // profiles/models/NAME.json
  const char* shared;   // file of the collection beside the repository
  int64_t total;
};

// The number of elements in each published checkpoint.
const Published kPublished[] = {
    {"llama-3.1-8b", "meta-llama--Meta-Llama-3.1-8B", 8'030'261'248},
    {"llama-3.1-70b", "meta-llama--Meta-Llama-3.1-70B", 70'553'706'496},
    {"llama-3.1-405b", "meta-llama--Meta-Llama-3.1-405B", 405'853'388'800},
    {"mixtral-8x7b", "mistralai--Mixtral-8x7B-v0.1", 46'702'792'704},
    {"qwen3-8b", "Qwen--Qwen3-8B", 8'190'735'360},
    {"qwen3-30b-a3b", "Qwen--Qwen3-30B-A3B", 30'532'122'624},
    {"deepseek-v3", "deepseek-ai--DeepSeek-V3", 671'026'419'200},
    {"gpt-oss-20b", "openai--gpt-oss-20b", 20'914'757'184},
};

class PublishedCount : public testing::TestWithParam<Published> {};

TEST_P(PublishedCount, OfTheShippedModel) {
  const Result<ModelSpec> model = load_model(GetParam().shipped, kProfiles);
  ASSERT_TRUE(model.ok()) << model.error().line();
  EXPECT_EQ(count_parameters(*model).total(), GetParam().total);
}

TEST_P(PublishedCount, OfTheOriginalConfig) {
  const std::string file =
      std::string(SHARDWRIGHT_SHARED_DIR "/models/hf/") + GetParam().shared + ".json";
  if (!fs::exists(file)) GTEST_SKIP() << file << " is absent";
  const Result<ModelSpec> original = load_model(file);
  ASSERT_TRUE(original.ok()) << original.error().line();
  EXPECT_EQ(count_parameters(*original).total(), GetParam().total);
  const Result<ModelSpec> shipped = load_model(GetParam().shipped, kProfiles);
  ASSERT_TRUE(shipped.ok()) << shipped.error().line();
  EXPECT_EQ(original->kinds, shipped->kinds);
  EXPECT_EQ(original->layer_kind, shipped->layer_kind);
}

INSTANTIATE_TEST_SUITE_P(Models, PublishedCount, testing::ValuesIn(kPublished),
                         [](const auto& info) {
                           std::string name = info.param.shipped;
                           for (char& c : name) c = std::isalnum(c) ? c : '_';
                           return name;
                         });

TEST(CountParameters, Gpt2) {
  EXPECT_EQ(count_parameters(*load_model("gpt2", kProfiles)).total(), 124'439'808);
}

TEST(CountParameters, SmallShippedModels) {
  // Layer of hidden h: attention 4hh + 4h, MLP 8hh + 5h, norms 4h. Final norm 2h, head tied.
  const auto gpt = [](int64_t h, int64_t layers, int64_t rows) {
    return rows * h + layers * (12 * h * h + 13 * h) + 2 * h;
  };
  EXPECT_EQ(count_parameters(*load_model("tiny-gpt", kProfiles)).total(), gpt(128, 4, 256 + 256));
  EXPECT_EQ(count_parameters(*load_model("small-gpt", kProfiles)).total(), gpt(384, 6, 4096 + 256));
  // q and out 128x128, k and v 128x64, three 128x352, two norms.
  const int64_t layer = 2 * 128 * 128 + 2 * 128 * 64 + 3 * 128 * 352 + 2 * 128;
  EXPECT_EQ(count_parameters(*load_model("tiny-llama", kProfiles)).total(),
            2 * 256 * 128 + 4 * layer + 128);
}

TEST(CountParameters, Mistral7b) {
  EXPECT_EQ(total_of(R"({"model_type":"mistral","vocab_size":32000,"hidden_size":4096,
      "max_position_embeddings":32768,"intermediate_size":14336,"num_hidden_layers":32,
      "num_attention_heads":32,"num_key_value_heads":8,"sliding_window":4096})"),
            7'241'732'096);
}

TEST(CountParameters, Qwen27bHasBiasesOnQkvOnly) {
  EXPECT_EQ(total_of(R"({"model_type":"qwen2","vocab_size":152064,"hidden_size":3584,
      "max_position_embeddings":131072,"intermediate_size":18944,"num_hidden_layers":28,
      "num_attention_heads":28,"num_key_value_heads":4})"),
            7'615'616'512);
}

TEST(CountParameters, GptNeox20b) {
  EXPECT_EQ(total_of(R"({"model_type":"gpt_neox","vocab_size":50432,"hidden_size":6144,
      "max_position_embeddings":2048,"intermediate_size":24576,"num_hidden_layers":44,
      "num_attention_heads":64,"hidden_act":"gelu_fast"})"),
            20'554'567'680);
}

TEST(CountParameters, Gemma22bTiesItsHeadAndHasFourNorms) {
  EXPECT_EQ(total_of(R"({"model_type":"gemma2","vocab_size":256000,"hidden_size":2304,
      "max_position_embeddings":8192,"intermediate_size":9216,"num_hidden_layers":26,
      "num_attention_heads":8,"num_key_value_heads":4,"head_dim":256})"),
            2'614'341'888);
}

TEST(CountParameters, Phi3Mini) {
  EXPECT_EQ(total_of(R"({"model_type":"phi3","vocab_size":32064,"hidden_size":3072,
      "max_position_embeddings":4096,"intermediate_size":8192,"num_hidden_layers":32,
      "num_attention_heads":32,"num_key_value_heads":32,"sliding_window":2047})"),
            3'821'079'552);
}

TEST(CountParameters, LlamaBiases) {
  const std::string plain = R"({"model_type":"llama","vocab_size":10,"hidden_size":8,
      "max_position_embeddings":16,"intermediate_size":12,"num_hidden_layers":3,
      "num_attention_heads":4,"num_key_value_heads":2)";
  const int64_t none = total_of((plain + "}").c_str());
  // q 8, k 4, v 4, out 8; gate 12, up 12, down 8; three layers.
  EXPECT_EQ(total_of((plain + R"(,"attention_bias":true})").c_str()), none + 3 * (8 + 4 + 4 + 8));
  EXPECT_EQ(total_of((plain + R"(,"mlp_bias":true})").c_str()), none + 3 * (12 + 12 + 8));
  EXPECT_EQ(total_of((plain + R"(,"tie_word_embeddings":true})").c_str()), none - 10 * 8);
}

TEST(CountParameters, LatentAttentionWithoutQueryCompression) {
  const ModelSpec model = model_of(R"({"model_type":"deepseek_v3","vocab_size":10,"hidden_size":16,
      "max_position_embeddings":16,"intermediate_size":20,"num_hidden_layers":1,
      "num_attention_heads":2,"q_lora_rank":null,"kv_lora_rank":6,"qk_nope_head_dim":4,
      "qk_rope_head_dim":2,"v_head_dim":3,"n_routed_experts":4,"num_experts_per_tok":2,
      "moe_intermediate_size":5,"first_k_dense_replace":1,"attention_bias":true})");
  // q 16x12; down to 6+2, its norm and bias; up to 2*(4+3); out 6x16 and bias.
  EXPECT_EQ(count_layer(model, model.layer(0)).attention,
            16 * 12 + 16 * 8 + 6 + 8 + 6 * 14 + 6 * 16 + 16);
}

TEST(CountParameters, PartsAddUp) {
  const Result<ModelSpec> model = load_model("deepseek-v3", kProfiles);
  const ParameterCount count = count_parameters(*model);
  EXPECT_EQ(count.embedding, 129280LL * 7168);
  EXPECT_EQ(count.head, count.embedding);
  EXPECT_EQ(count.final_norm, 7168);
  const LayerParameters sparse = count_layer(*model, model->layer(60));
  EXPECT_EQ(sparse.experts, 256LL * 3 * 7168 * 2048);
  EXPECT_EQ(sparse.mlp, 3LL * 7168 * 2048);
  EXPECT_EQ(sparse.router, 256LL * 7168 + 256);
  const LayerParameters dense = count_layer(*model, model->layer(0));
  EXPECT_EQ(count.layers, 3 * dense.total() + 58 * sparse.total());
}

TEST(CountActive, TakesTopKOfTheExperts) {
  EXPECT_EQ(count_active_parameters(*load_model("mixtral-8x7b", kProfiles)), 12'879'925'248);
  // gpt-oss: 28 of 32 experts of 3x2880x2880 weights and 3x2880 biases rest, in 24 layers.
  EXPECT_EQ(count_active_parameters(*load_model("gpt-oss-20b", kProfiles)),
            20'914'757'184 - 24LL * 28 * (3 * 2880 * 2880 + 3 * 2880));
}

TEST(CountActive, EqualsTheTotalOfADenseModel) {
  EXPECT_EQ(count_active_parameters(*load_model("llama-3.1-8b", kProfiles)), 8'030'261'248);
}

}  // namespace
}  // namespace shardwright
