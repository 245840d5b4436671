# run(COMMAND...)                  fails the test with the command's output unless it returns 0.
# expect_completion(COMMAND...)    the same for examples/embed, which must print text and then count its tokens.
cmake_minimum_required(VERSION 3.25)

function(run)
  execute_process(COMMAND ${ARGV} COMMAND_ECHO STDOUT COMMAND_ERROR_IS_FATAL ANY)
endfunction()

function(expect_completion)
  execute_process(COMMAND ${ARGV} COMMAND_ECHO STDOUT ECHO_OUTPUT_VARIABLE COMMAND_ERROR_IS_FATAL ANY
                  OUTPUT_VARIABLE output)
  if(NOT output MATCHES "[a-z].*\n\\([1-9][0-9]* tokens, [a-z]+\\)\n$")
    message(FATAL_ERROR "no completion in what the program printed")
  endif()
endfunction()
