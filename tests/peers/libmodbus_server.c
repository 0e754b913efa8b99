/* A Modbus TCP server with libmodbus: 500 holding registers, each with its own address, for any unit; one client at a
   time. */

#include <modbus/modbus.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { REGISTERS = 500 };

int main(int count, char **arguments)
{
    if (count != 3) {
        fprintf(stderr, "usage: %s ADDRESS PORT\n", arguments[0]);
        return 2;
    }
    modbus_t *server = modbus_new_tcp(arguments[1], atoi(arguments[2]));
    modbus_mapping_t *mapping = modbus_mapping_new(0, 0, REGISTERS, 0);
    if (server == NULL || mapping == NULL) {
        perror("libmodbus");
        return 1;
    }
    for (int address = 0; address < REGISTERS; address++) {
        mapping->tab_registers[address] = (uint16_t)address;
    }
    int listening = modbus_tcp_listen(server, 1);
    if (listening == -1) {
        perror("listen");
        return 1;
    }
    while (modbus_tcp_accept(server, &listening) != -1) {
        uint8_t request[MODBUS_TCP_MAX_ADU_LENGTH];
        int length;
        while ((length = modbus_receive(server, request)) != -1) {
            if (length > 0 && modbus_reply(server, request, length, mapping) == -1) {
                break;
            }
        }
        close(modbus_get_socket(server));
    }
    perror("accept");
    return 1;
}
