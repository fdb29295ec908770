#include <iostream>

#include "tools/cli.h"
#include "tools/clusters_command.h"
#include "tools/models_command.h"

namespace shardwright {

void add_models(CLI::App& app, Action* action) {
  CLI::App* models = app.add_subcommand("models", "What a model consists of");
  models->require_subcommand(1);
  models->footer("Example:\n  shardwright models show llama-3.1-8b");
  CLI::App* show = models->add_subcommand("show", "Parts and exact parameter counts");
  const auto path = std::make_shared<std::string>();
  const auto json = std::make_shared<bool>(false);
  show->add_option("path", *path, "config.json, a folder with one, or a shipped model")->required();
  show->add_flag("--json", *json, "Print JSON");
  show->footer("Example:\n  shardwright models show llama-3.1-8b");
  show->callback(
      [=] { *action = [=] { return run_models_show(*path, *json, std::cout, std::cerr); }; });
}

void add_clusters(CLI::App& app, Action* action) {
  CLI::App* clusters = app.add_subcommand("clusters", "What the planner knows of a cluster");
  clusters->require_subcommand(1);
  clusters->footer("Example:\n  shardwright clusters show h100-sxm-80gb:8x64");
  const auto text = std::make_shared<std::string>();
  const auto json = std::make_shared<bool>(false);
  CLI::App* show = clusters->add_subcommand("show", "Devices and links of a cluster");
  show->add_option("cluster", *text, "cluster.json, or DEVICE:PER_NODE[xNODES]")->required();
  show->add_flag("--json", *json, "Print JSON");
  show->footer("Example:\n  shardwright clusters show h100-sxm-80gb:8x64");
  show->callback(
      [=] { *action = [=] { return run_clusters_show(*text, *json, std::cout, std::cerr); }; });
  CLI::App* list = clusters->add_subcommand("list", "Shipped devices and clusters");
  list->add_flag("--json", *json, "Print JSON");
  list->footer("Example:\n  shardwright clusters list");
  list->callback([=] { *action = [=] { return run_clusters_list(*json, std::cout, std::cerr); }; });
}

}  // namespace shardwright
