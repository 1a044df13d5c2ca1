/* culvert-sim: the simulator as a program; everything is in tests/scenarios. */
#include "scenarios/scenario.h"

int main(int argc, char **argv) {
    return scenario_main(argc, argv);
}
