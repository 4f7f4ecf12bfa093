# Part of `cmake --install`: writes manual pages and completions below `made`, by `python` and the
# command in `package_at`. Without the command's own dependencies there are none, and that is said.

file(REMOVE_RECURSE ${made})
set(command ${CMAKE_COMMAND} -E env PYTHONPATH=${package_at} PYTHONDONTWRITEBYTECODE=1 ${python} -m)
execute_process(COMMAND ${command} hearth.cli.manual ${made}/man/man1 RESULT_VARIABLE failed
                OUTPUT_QUIET ERROR_VARIABLE why)
foreach(shell_file bash:bash-completion/completions/hearth zsh:zsh/vendor-completions/_hearth
                   fish:fish/vendor_completions.d/hearth.fish)
  string(REPLACE ":" ";" parts ${shell_file})
  list(GET parts 0 shell)
  list(GET parts 1 file)
  if(NOT failed)
    execute_process(COMMAND ${command} hearth completion ${shell} OUTPUT_VARIABLE script
                    RESULT_VARIABLE failed ERROR_VARIABLE why)
    file(WRITE ${made}/${file} "${script}")
  endif()
endforeach()
if(failed)
  file(REMOVE_RECURSE ${made})
  file(MAKE_DIRECTORY ${made})
  message(WARNING "No manual pages and completions: ${python} cannot run the command.\n${why}")
endif()
