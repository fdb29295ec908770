#include <iostream>

#include "tools/cli.h"
#include "tools/plan_command.h"
#include "tools/simulate_command.h"

namespace shardwright {

namespace {

void add_questions(CLI::App* sub, QuestionArguments* q) {
  const std::string questions = "Questions, of a framework's stack";
  sub->add_flag("--max-micro-batch", q->max_micro_batch, "The largest microbatch that fits")
      ->group(questions);
  sub->add_flag("--max-seq", q->max_seq, "The longest sequence that fits (--seq is not needed)")
      ->group(questions);
  sub->add_option("--seq-multiple", q->seq_multiple, "Of --max-seq: tokens it is a multiple of")
      ->capture_default_str()
      ->group(questions);
  sub->add_flag("--min-devices", q->min_devices,
                "The fewest devices: below a node its divisors, "
                "then whole nodes")
      ->group(questions);
  sub->add_option("--deadline", q->deadline, "TOKENS@DAYS that plans have to reach, e.g. 1e12@30")
      ->group(questions);
  sub->add_option("--compare-clusters", q->compare_clusters, "Clusters with commas between them")
      ->group(questions);
  sub->add_option("--objective", q->objective,
                  "step, tokens-per-device, cost, energy or devices; all but step over numbers of "
                  "devices")
      ->group(questions);
  sub->add_option("--pareto", q->pareto, "Front over two of step, memory, devices, cost, energy")
      ->group(questions);
  sub->add_option("--memory-step", q->memory_step_gib, "Of --pareto: GiB between points; 0: all")
      ->capture_default_str()
      ->group(questions);
  const std::string rates = "Rates and limits";
  sub->add_option("--price-per-device-hour", q->usd_per_hour,
                  "USD; of several clusters one each, with commas")
      ->group(rates);
  sub->add_option("--watts-per-device", q->watts,
                  "W; default: as the device's profile states from its data sheet")
      ->group(rates);
  sub->add_option("--max-cost-per-mtoken", q->max_usd_per_mtoken, "USD per million tokens")
      ->group(rates);
  sub->add_option("--max-watts", q->max_watts, "Of all devices together")->group(rates);
  sub->add_option("--max-devices", q->max_devices, "Devices to use at most")->group(rates);
}

}  // namespace

void add_plan(CLI::App& app, Action* action) {
  CLI::App* sub = app.add_subcommand("plan", "The best plans for a model on a cluster");
  const auto a = std::make_shared<PlanArguments>();
  sub->add_option("--model", a->model, "config.json, a folder with one, or a shipped model")
      ->required();
  sub->add_option("--cluster", a->cluster,
                  "cluster.json or DEVICE:PER_NODE[xNODES]; default: this machine, as profiled");
  sub->add_option("--seq", a->seq, "Tokens per sequence");
  sub->add_option("--global-batch", a->global_batch, "Sequences per step")->required();
  sub->add_option("--precision", a->precision, "fp32 or bf16")->capture_default_str();
  sub->add_option("--optimizer", a->optimizer, "adamw or sgd")->capture_default_str();
  sub->add_option("--ranks", a->ranks, "Devices to use; default: all");
  sub->add_option("--top", a->top, "Plans to show")->capture_default_str();
  sub->add_option("--pin", a->pins, "Fix a choice, e.g. tp=2 schedule=1f1b recompute=full");
  sub->add_option("--ban", a->bans, "Exclude values, e.g. zero=3 schedule=gpipe|zb-v");
  sub->add_option("--min", a->mins, "Smallest value, e.g. micro_batch=2");
  sub->add_option("--max", a->maxs, "Largest value, e.g. pp=4");
  sub->add_option("--stack", a->stack,
                  "Software: a stack of profiles/stacks, a stack file, or shardwright for the own "
                  "executor; default: shardwright on CPUs, the framework's current one on GPUs "
                  "(megatron-core-2026 without --for)");
  sub->add_option("--for", a->framework,
                  "Only what this framework can express: megatron, deepspeed, torchtitan, fsdp, "
                  "nemo, any for no limits; default: the stack's");
  sub->add_option("--headroom", a->headroom, "Share of a device's memory left free")
      ->capture_default_str();
  sub->add_option("--memory-limit", a->memory_limit_gib, "GiB of a device to use at most");
  sub->add_option("-o,--output", a->out, "Write the best plan here");
  sub->add_flag("--json", a->json, "Print JSON");
  add_questions(sub, &a->question);
  sub->footer(
      "Choices that pins, bans and bounds may name: dp tp pp cp ep etp virtual_stages "
      "stage_layers\n"
      "micro_batch zero shard_group recompute_layers schedule schedule_cap recompute cp_kind\n"
      "rank_order sequence_parallel overlap_gradients overlap_parameters overlap_tensor\n"
      "overlap_pipeline overlap_experts optimizer_offload activation_offload unlike_batches.\n"
      "Layers per chunk: --pin stage_layers=7+8x2+9, or --min and --max of each.\n"
      "Example:\n"
      "  shardwright plan --model llama-3.1-8b --cluster h100-sxm-80gb:8x4 --precision bf16 \\\n"
      "    --seq 8192 --global-batch 256 --pin tp=4 -o plan.json\n"
      "  shardwright plan --model llama-3.1-8b --cluster h100-sxm-80gb:8x16 --precision bf16 \\\n"
      "    --seq 8192 --global-batch 256 --min-devices --deadline 1e12@60\n"
      "  shardwright plan --model llama-3.1-8b --precision bf16 --seq 8192 --global-batch 256 \\\n"
      "    --compare-clusters h100-sxm-80gb:8x2,a100-sxm-80gb:8x4 --price-per-device-hour 3,1.5");
  sub->callback([=] { *action = [=] { return run_plan(*a, std::cout, std::cerr); }; });
}

void add_simulate(CLI::App& app, Action* action) {
  CLI::App* sub = app.add_subcommand("simulate", "Predicted step time and memory of a plan");
  const auto a = std::make_shared<SimulateArguments>();
  sub->add_option("plan", a->plan, "plan.json")->required();
  sub->add_option("--trace", a->trace, "Write a trace for ui.perfetto.dev here");
  sub->add_flag("--program", a->program, "Print the program instead: every rank's instructions");
  sub->add_flag("--json", a->json, "Print JSON");
  sub->footer("Example:\n  shardwright simulate plan.json --trace trace.json");
  sub->callback([=] { *action = [=] { return run_simulate(*a, std::cout, std::cerr); }; });
}

}  // namespace shardwright
