// Hostile text stays one value: asked of bash and python3 themselves, not of a list of rules.
#include "planner/export/quoting.h"

#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "costmodel/json.h"
#include "planner/lint/shell.h"
#include "planner/lint/yaml.h"
#include "tests/planner/export/export_support.h"

namespace shardwright {
namespace {

namespace fs = std::filesystem;

const std::vector<std::string>& hostile() {
  static const std::vector<std::string> kTexts = {"; rm -rf ~",
                                                  "$(touch pwned)",
                                                  "`touch pwned`",
                                                  "a'b",
                                                  "a\"b",
                                                  "a\\b",
                                                  "two\nlines",
                                                  "'; touch pwned; '",
                                                  "\"; touch pwned; \"",
                                                  "--option",
                                                  "-n",
                                                  "",
                                                  " ",
                                                  "#comment",
                                                  "a b  c",
                                                  "*",
                                                  "?",
                                                  "[x]",
                                                  "{a,b}",
                                                  "~",
                                                  "!x",
                                                  "&",
                                                  "|",
                                                  ">out",
                                                  "$HOME",
                                                  "${IFS}",
                                                  "key: value",
                                                  "- item",
                                                  "yes",
                                                  "null",
                                                  "1e9",
                                                  "\xc3\xa9",
                                                  "tab\there",
                                                  "%x",
                                                  "a=b",
                                                  "EOF",
                                                  "\r\n"};
  return kTexts;
}

struct Ran {
  int status = -1;
  std::string output;
};
Ran run(const std::string& command) {
  Ran ran;
  FILE* pipe = popen(command.c_str(), "r");
  if (pipe == nullptr) return ran;
  char buffer[4096];
  size_t got = 0;
  while ((got = fread(buffer, 1, sizeof buffer, pipe)) > 0) ran.output.append(buffer, got);
  ran.status = pclose(pipe);
  return ran;
}

class Quoting : public testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/shardwright_quoting_XXXXXX";
    folder_ = mkdtemp(name);
  }
  void TearDown() override { fs::remove_all(folder_); }
  std::string write(const std::string& name, const std::string& content) {
    const std::string path = folder_ + "/" + name;
    std::ofstream(path, std::ios::binary) << content;
    return path;
  }
  // Runs in the test's folder, where a successful attack would leave a file.
  Ran in_folder(const std::string& command) { return run("cd " + folder_ + " && " + command); }
  bool attacked() const { return fs::exists(folder_ + "/pwned"); }
  std::string folder_;
};

TEST_F(Quoting, BashReadsEveryWordAsItIs) {
  std::string script = "printf '%s\\0' ";
  std::string expected;
  for (const std::string& text : hostile()) {
    script += shell_word(text) + " ";
    expected += text + '\0';
  }
  write("words.sh", script + "\n");
  const Ran ran = in_folder("bash words.sh");
  EXPECT_EQ(ran.status, 0);
  EXPECT_EQ(ran.output, expected);
  EXPECT_FALSE(attacked());
}

// Our own reader of scripts agrees with bash.
TEST_F(Quoting, OurShellReadsEveryWordAsItIs) {
  for (const std::string& text : hostile()) {
    const Result<ShellScript> script = read_shell("run " + shell_word(text) + "\n", "test");
    ASSERT_TRUE(script.ok()) << script.error().line();
    ASSERT_EQ(script->commands.size(), 1u) << text;
    EXPECT_EQ(script->commands[0].words, (std::vector<std::string>{"run", text}));
  }
}

TEST_F(Quoting, YamlReadsEveryValueAsItIs) {
  for (const std::string& text : hostile()) {
    const Result<Json> yaml = parse_yaml("key: " + yaml_text(text) + "\n", "test");
    ASSERT_TRUE(yaml.ok()) << text;
    EXPECT_EQ((*yaml)["key"], text);
  }
}

TEST_F(Quoting, PythonsYamlReadsThemToo) {
  if (run("python3 -c 'import yaml' 2>&1").status != 0) GTEST_SKIP() << "python3 without yaml";
  std::string yaml, expected = "[";
  for (const std::string& text : hostile()) yaml += "- " + yaml_text(text) + "\n";
  write("all.yaml", yaml);
  const Ran ran = in_folder(
      "python3 -c \"import yaml,json;print(json.dumps(yaml.safe_load(open('all.yaml'))))\"");
  EXPECT_EQ(ran.status, 0);
  EXPECT_EQ(Json::parse(ran.output), Json(hostile()));
}

TEST(PlainName, IsNeitherOptionNorPathNorEmpty) {
  EXPECT_EQ(plain_name("llama-3.1-8b"), "llama-3.1-8b");
  EXPECT_EQ(plain_name("; rm -rf ~"), "__rm_-rf__");
  EXPECT_EQ(plain_name("../../etc/passwd"), "m.._.._etc_passwd");
  EXPECT_EQ(plain_name("-x"), "m-x");
  EXPECT_EQ(plain_name(""), "m");
  EXPECT_EQ(plain_name("a\nb"), "a_b");
}

// A model whose name is an attack, through every writer: the script parses, nothing of the name
// runs, and JSON and YAML still parse.
TEST_F(Quoting, HostileModelNamesInjectNothing) {
  const ClusterSpec cluster = shipped_cluster("h100-sxm-80gb:8x4");
  // In groups: a process for each text would take long. A group begins with each kind of text.
  for (size_t first = 0; first < hostile().size(); first += 5) {
    std::string text;
    for (size_t i = first; i < std::min(first + 5, hostile().size()); ++i) text += hostile()[i];
    ModelSpec model = shipped_model("llama-3.1-8b");
    model.name = text;
    Plan plan = plain_plan(model, 32, 1, 1);
    plan.zero = 3;
    for (const char* to : {"megatron", "deepspeed", "torchtitan", "fsdp", "nemo", "slurm"}) {
      ExportTarget target;
      ASSERT_TRUE(parse_target(to, &target));
      const Result<Export> exported = export_plan(target, model, cluster, plan, kProfiles);
      ASSERT_TRUE(exported.ok() && exported->refused.empty()) << to;
      for (const ExportFile& file : exported->files) {
        write(std::string(to) + "_" + file.name, file.content);
        if (file.name == "fsdp.yaml") {
          EXPECT_TRUE(parse_yaml(file.content, "test").ok()) << file.content;
        }
      }
    }
    // torchrun, srun and deepspeed are programs here that do nothing.
    write("run_all",
          "set -e\n"
          "torchrun() { :; }; deepspeed() { :; }; srun() { :; }; scontrol() { :; }\n"
          "exec() { \"$@\"; }\n"
          "export SLURM_JOB_NODELIST=n SLURM_JOB_ID=1 TRAIN=t RECIPE=r\n"
          "for file in *.sh *.sbatch; do bash -n \"$file\"; ( . ./\"$file\" ); done\n"
          "python3 -m json.tool deepspeed_ds_config.json > json.out\n");
    const Ran ran = in_folder("bash run_all 2>&1");
    EXPECT_EQ(ran.status, 0) << ran.output;
    EXPECT_EQ(ran.output, "");
    EXPECT_FALSE(attacked()) << text;
  }
}

}  // namespace
}  // namespace shardwright
