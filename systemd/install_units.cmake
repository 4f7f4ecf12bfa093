# Part of `cmake --install`: writes the units of `units_from` for programs below the prefix. Where
# CPack collects files, the prefix must be the final one: CPACK_SET_DESTDIR.

foreach(scope system user)
  file(GLOB units ${units_from}/${scope}/*.service ${units_from}/${scope}/*.socket)
  foreach(unit IN LISTS units)
    get_filename_component(name ${unit} NAME)
    file(READ ${unit} text)
    string(REPLACE "/usr/bin/hearth" "${CMAKE_INSTALL_PREFIX}/bin/hearth" text "${text}")
    file(WRITE ${units_at}/${scope}/${name} "${text}")
    file(INSTALL ${units_at}/${scope}/${name}
         DESTINATION ${CMAKE_INSTALL_PREFIX}/lib/systemd/${scope})
  endforeach()
endforeach()
