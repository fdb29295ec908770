#include "costmodel/calibrate/measured_ops.h"

#include "tests/costmodel/calibrate/calibrate_support.h"

namespace shardwright {
namespace {

TEST(MeasuredOps, ReadsEachKind) {
  const TimingsFolder folder;
  const auto gemm =
      read_measured_ops(folder.write("toy.fp8.csv", "m,n,k,latency_us\n16,32,64,2.5\n"));
  ASSERT_TRUE(gemm.ok()) << gemm.error().line();
  EXPECT_EQ(gemm->kind, OpKind::kGemm);
  EXPECT_EQ(gemm->device, "toy");
  ASSERT_EQ(gemm->ops.size(), 1u);
  EXPECT_EQ(gemm->ops[0].gemm.type, DataType::kFp8);
  EXPECT_EQ(gemm->ops[0].gemm.k, 64);
  EXPECT_DOUBLE_EQ(gemm->ops[0].seconds, 2.5e-6);

  const auto attention = read_measured_ops(folder.write(
      "a-1.0.bf16.csv", "batch,seq,heads,kv_heads,head_dim,latency_us\r\n2,128,8,2,64,10\r\n"));
  ASSERT_TRUE(attention.ok()) << attention.error().line();
  EXPECT_EQ(attention->device, "a-1.0");
  EXPECT_EQ(attention->ops.at(0).attention.kv_heads, 2);
  EXPECT_EQ(attention->ops.at(0).attention.v_head_dim, 64);

  const auto collectives =
      read_measured_ops(folder.write("toy.nccl.csv",
                                     "collective,gpus,message_bytes,latency_us\n"
                                     "alltoall,4,1024,7\nall_reduce,2,512,5\n"));
  ASSERT_TRUE(collectives.ok()) << collectives.error().line();
  EXPECT_EQ(collectives->ops.at(0).collective, CollectiveKind::kAllToAll);
  EXPECT_EQ(collectives->ops.at(1).ranks, 2);
}

TEST(MeasuredOps, RefusesRowsByLine) {
  const TimingsFolder folder;
  const auto file = read_measured_ops(folder.write(
      "toy.bf16.csv",
      "m,n,k,latency_us\n1,1,1,1\n1,1,1\n1,x,1,1\n1,1,1,-2\n1,1.5,1,1\n1,1,1,nan\n\n2,2,2,2"));
  ASSERT_TRUE(file.ok()) << file.error().line();
  EXPECT_EQ(file->ops.size(), 2u);
  std::vector<int64_t> lines;
  for (const RefusedOp& one : file->refused) lines.push_back(one.line);
  EXPECT_EQ(lines, (std::vector<int64_t>{3, 4, 5, 6, 7}));
  EXPECT_EQ(file->refused[1].reason, "column 2: found \"x\", expected a positive number");
}

TEST(MeasuredOps, RefusesFilesByWhatIsWrong) {
  const TimingsFolder folder;
  const auto header = read_measured_ops(folder.write("toy.bf16.csv", "a,b\n1,2\n"));
  ASSERT_FALSE(header.ok());
  EXPECT_NE(header.error().line().find("m,n,k,latency_us"), std::string::npos);
  EXPECT_FALSE(read_measured_ops(folder.write("toy.csv", "m,n,k,latency_us\n")).ok());
  EXPECT_FALSE(read_measured_ops(folder.write("toy.int9.csv", "m,n,k,latency_us\n")).ok());
  EXPECT_FALSE(read_measured_ops(folder.path() + "/none.bf16.csv").ok());
}

TEST(MeasuredOps, FindsFilesOfTheThreeFolders) {
  const TimingsFolder folder;
  folder.write("gemm/b.bf16.csv", "");
  folder.write("gemm/a.bf16.csv", "");
  folder.write("attention/a.bf16.csv", "");
  folder.write("gemm/readme.md", "");
  const auto found = find_measured_ops({folder.path()});
  ASSERT_TRUE(found.ok());
  EXPECT_EQ(*found, (std::vector<std::string>{folder.path() + "/gemm/a.bf16.csv",
                                              folder.path() + "/gemm/b.bf16.csv",
                                              folder.path() + "/attention/a.bf16.csv"}));
  EXPECT_FALSE(find_measured_ops({folder.path() + "/collectives"}).ok());  // no such folder
}

}  // namespace
}  // namespace shardwright
