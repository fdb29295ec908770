#include "tools/profile_output.h"

#include <unistd.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <system_error>

#include "executor/exec_error.h"
#include "tools/exit_codes.h"

namespace shardwright {
namespace {

constexpr size_t kProgressWidth = 60;
constexpr size_t kErrorWidth = 4000;

int report(const Error& error, std::ostream& err) {
  err << printable(error.line(), kErrorWidth) << "\n";
  return kExitBadInput;
}

// Writes and removes a file beside `path`, so that a minute of measuring is not lost at its end.
std::optional<Error> check_writable(const std::string& path) {
  std::error_code ignored;
  if (std::filesystem::is_directory(path, ignored)) {
    return Error{path, "", "a folder", "a file to write"};
  }
  const std::string probe = path + ".probe";
  if (auto error = write_file_atomically(probe, "")) {
    error->file = path;
    return error;
  }
  std::filesystem::remove(probe, ignored);
  return std::nullopt;
}

// Fails where the file itself would: the check of the path says why.
void make_folder_of(const std::string& path) {
  std::error_code ignored;
  std::filesystem::create_directories(std::filesystem::path(path).parent_path(), ignored);
}

// One line that is written over; wiped at the end.
class ProgressLine {
 public:
  explicit ProgressLine(std::ostream& err) : err_(err) {}
  void show(std::string text) {
    text.resize(kProgressWidth, ' ');
    err_ << "\r" << text << std::flush;
    shown_ = true;
  }
  void wipe() {
    if (shown_) err_ << "\r" << std::string(kProgressWidth, ' ') << "\r" << std::flush;
  }

 private:
  std::ostream& err_;
  bool shown_ = false;
};

}  // namespace

int measure_to_file(const ProfileFile& file, const ProfileOptions& options,
                    const std::function<std::optional<Error>(const ProfileOptions&)>& measure,
                    const std::function<Json()>& json, std::ostream& err) {
  if (file.default_place) make_folder_of(file.path);
  if (auto error = check_writable(file.path)) return report(*error, err);
  ProgressLine line(err);
  ProfileOptions settings = options;
  if (!settings.progress && isatty(STDERR_FILENO) != 0) {
    settings.progress = [&line](const std::string& text) { line.show(text); };
  }
  std::optional<Error> error;
  try {
    error = measure(settings);
  } catch (const ExecError& failure) {
    line.wipe();
    err << "profile: " << printable(failure.what(), kErrorWidth) << "\n";
    return kExitRunFailed;
  }
  line.wipe();
  if (!error) error = write_file_atomically(file.path, json().dump(2) + "\n");
  return error ? report(*error, err) : kExitOk;
}

}  // namespace shardwright
