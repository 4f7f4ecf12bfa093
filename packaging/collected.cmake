# Run by cpack when the files are collected and before they are packed. What a build tree's engine
# says of the libtorch it was linked with is of no use to anybody else.

file(GLOB_RECURSE programs ${CPACK_TEMPORARY_DIRECTORY}/hearth-worker)
foreach(program IN LISTS programs)
  if(CPACK_HEARTH_TORCH_RPATH)
    file(RPATH_SET FILE ${program} NEW_RPATH "${CPACK_HEARTH_TORCH_RPATH}")
  endif()
endforeach()

if(CPACK_GENERATOR STREQUAL "DEB")
  set(usr ${CPACK_TEMPORARY_DIRECTORY}/usr)
  # The package manager does what these scripts are for.
  file(REMOVE_RECURSE ${usr}/share/hearth/systemd)
  # The distribution's Python has the modules that the package depends on; one of the user's may not.
  file(READ ${usr}/bin/hearth text)
  string(REPLACE "#!/usr/bin/env python3" "#!/usr/bin/python3" text "${text}")
  file(WRITE ${usr}/bin/hearth "${text}")
  file(CHMOD ${usr}/bin/hearth PERMISSIONS OWNER_READ OWNER_WRITE OWNER_EXECUTE GROUP_READ
       GROUP_EXECUTE WORLD_READ WORLD_EXECUTE)
  # As Debian names and packs it.
  string(TIMESTAMP now "%a, %d %b %Y %H:%M:%S +0000" UTC)
  file(WRITE ${usr}/share/doc/hearth/changelog
"hearth (${CPACK_PACKAGE_VERSION}) unstable; urgency=medium

  * /usr/share/doc/hearth/CHANGELOG.md.gz has what changed.

 -- ${CPACK_PACKAGE_CONTACT}  ${now}
")
  file(GLOB pages ${usr}/share/man/man*/*)
  foreach(page IN LISTS pages ITEMS ${usr}/share/doc/hearth/CHANGELOG.md
                                    ${usr}/share/doc/hearth/changelog)
    execute_process(COMMAND gzip -9n ${page} COMMAND_ERROR_IS_FATAL ANY)
  endforeach()
else()
  # Units for a prefix that nobody knows yet: share/hearth/systemd/install writes them.
  file(GLOB_RECURSE units ${CPACK_TEMPORARY_DIRECTORY}/lib/systemd/*.service)
  foreach(unit IN LISTS units)
    get_filename_component(folder ${unit} DIRECTORY)
    get_filename_component(systemd ${folder} DIRECTORY)
    get_filename_component(lib ${systemd} DIRECTORY)
    file(REMOVE_RECURSE ${systemd} ${lib}/sysusers.d ${lib}/tmpfiles.d)
  endforeach()
endif()
