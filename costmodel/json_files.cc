#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <nlohmann/json.hpp>
#include <utility>

#include "costmodel/json.h"

namespace shardwright {
namespace {

// Closes on every path out.
class FileDescriptor {
 public:
  explicit FileDescriptor(int fd) : fd_(fd) {}
  ~FileDescriptor() { close_now(); }
  FileDescriptor(const FileDescriptor&) = delete;
  FileDescriptor& operator=(const FileDescriptor&) = delete;
  int get() const { return fd_; }
  bool close_now() {
    const int fd = std::exchange(fd_, -1);
    return fd < 0 || ::close(fd) == 0;
  }

 private:
  int fd_;
};

Error system_error(const std::string& path, const char* expected) {
  return {printable(path, 1000), "", std::strerror(errno), expected};
}

bool is_directory(int fd) {
  struct stat status;
  return ::fstat(fd, &status) == 0 && S_ISDIR(status.st_mode);
}

bool write_all(int fd, std::string_view content) {
  while (!content.empty()) {
    const ssize_t written = ::write(fd, content.data(), content.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return false;
    content.remove_prefix(static_cast<size_t>(written));
  }
  return true;
}

// Unique among the processes and threads that may write the same path at once.
std::string temporary_beside(const std::string& path) {
  static std::atomic<int> count{0};
  return path + ".tmp." + std::to_string(::getpid()) + "." + std::to_string(count++);
}

}  // namespace

Result<std::string> read_file(const std::string& path, int64_t limit_bytes) {
  FileDescriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (file.get() < 0) return system_error(path, "a readable file");
  if (is_directory(file.get())) {
    return Error{printable(path, 1000), "", "a directory", "a readable file"};
  }
  // Read until the end rather than trust the size: pipes and /proc report none.
  std::string content;
  char buffer[1 << 16];
  while (static_cast<int64_t>(content.size()) <= limit_bytes) {
    const ssize_t count = ::read(file.get(), buffer, sizeof(buffer));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return system_error(path, "a readable file");
    if (count == 0) return content;
    content.append(buffer, static_cast<size_t>(count));
  }
  return Error{printable(path, 1000), "", "more than " + std::to_string(limit_bytes) + " bytes",
               "a smaller file"};
}

Result<Json> read_json_file(const std::string& path) {
  const Result<std::string> text = read_file(path);
  if (!text.ok()) return text.error();
  return parse_json(*text, printable(path, 1000));
}

std::optional<Error> write_file_atomically(const std::string& path, std::string_view content) {
  const char* expected = "a path that can be written";
  struct stat status;
  // Renaming over a device or a pipe would replace it.
  if (::stat(path.c_str(), &status) == 0 && !S_ISREG(status.st_mode)) {
    return Error{printable(path, 1000), "",
                 S_ISDIR(status.st_mode) ? "a directory" : "not an ordinary file", expected};
  }
  const std::string temporary = temporary_beside(path);
  FileDescriptor file(::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666));
  if (file.get() < 0) return system_error(path, expected);
  const bool written = write_all(file.get(), content) && ::fsync(file.get()) == 0;
  if (written && file.close_now() && ::rename(temporary.c_str(), path.c_str()) == 0) {
    return std::nullopt;
  }
  const Error error = system_error(path, expected);
  ::unlink(temporary.c_str());
  return error;
}

}  // namespace shardwright
