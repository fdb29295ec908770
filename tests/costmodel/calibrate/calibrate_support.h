// CSV files of made-up timings in a folder that goes away.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>

namespace shardwright {

class TimingsFolder {
 public:
  TimingsFolder()
      : path_(std::filesystem::temp_directory_path() /
              ("shardwright_timings_" + std::to_string(::getpid()))) {
    std::filesystem::create_directories(path_);
  }
  ~TimingsFolder() { std::filesystem::remove_all(path_); }
  std::string path() const { return path_.string(); }
  std::string write(const std::string& name, const std::string& text) const {
    const std::filesystem::path file = path_ / name;
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file) << text;
    return file.string();
  }

 private:
  std::filesystem::path path_;
};

}  // namespace shardwright
