codegen_benchmark(linear_bench SOURCES linear.cc LINKS codegen_cpu)
