#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "costmodel/json.h"
#include "planner/records/record.h"

namespace shardwright {
namespace {

constexpr size_t kMaxLineBytes = size_t{1} << 20;

Result<std::vector<std::string>> files_of(const std::vector<std::string>& paths) {
  std::vector<std::string> files;
  for (const std::string& path : paths) {
    std::error_code error;
    if (!std::filesystem::is_directory(path, error)) {
      files.push_back(path);
      continue;
    }
    std::vector<std::string> found;
    for (const auto& entry : std::filesystem::directory_iterator(path, error)) {
      if (entry.path().extension() == ".jsonl") found.push_back(entry.path().string());
    }
    if (error) return Error{path, "", error.message(), "a folder that can be read"};
    if (found.empty()) return Error{path, "", "no *.jsonl file", "a folder with records"};
    std::sort(found.begin(), found.end());
    files.insert(files.end(), found.begin(), found.end());
  }
  return files;
}

// What of a refused row still names it: its id and source, where they are text.
void name_row(std::string_view line, RecordRow* row) {
  const Result<Json> json = parse_json(line, row->file);
  if (!json || !json->is_object()) return;
  const auto text = [](const Json& object, const char* key) -> std::string {
    const auto found = object.find(key);
    return found != object.end() && found->is_string() ? printable(found->get<std::string>(), 200)
                                                       : "";
  };
  row->id = text(*json, "id");
  const auto source = json->find("source");
  if (source != json->end() && source->is_object()) row->source = text(*source, "title");
}

RecordRow read_row(const std::string& file, int64_t number, std::string_view line) {
  const std::string name = file + ":" + std::to_string(number);
  RecordRow row{file, number, "", "", Error{name, "", "", ""}};
  if (line.size() > kMaxLineBytes) {
    row.record = Error{name, "", std::to_string(line.size()) + " bytes", "a line of at most 1 MiB"};
    return row;
  }
  row.record = read_record(line, name);
  if (row.record) {
    row.id = row.record->id;
    row.source = row.record->source;
  } else {
    name_row(line, &row);
  }
  return row;
}

}  // namespace

Result<std::vector<RecordRow>> read_record_files(const std::vector<std::string>& paths) {
  const Result<std::vector<std::string>> files = files_of(paths);
  if (!files) return files.error();
  std::vector<RecordRow> rows;
  for (const std::string& file : *files) {
    const Result<std::string> text = read_file(file);
    if (!text) return text.error();
    int64_t number = 0;
    for (size_t at = 0; at < text->size();) {
      const size_t end = std::min(text->find('\n', at), text->size());
      const std::string_view line = std::string_view(*text).substr(at, end - at);
      at = end + 1;
      ++number;
      if (line.find_first_not_of(" \t\r") != std::string_view::npos) {
        rows.push_back(read_row(file, number, line));
      }
    }
  }
  return rows;
}

}  // namespace shardwright
