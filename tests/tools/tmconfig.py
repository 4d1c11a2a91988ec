# SPDX-License-Identifier: Apache-2.0
"""Text of a VM configuration, so that tests and run.py need not write device trees by hand.

    tmconfig.dts([tmconfig.vm("manager", manager=True, image="manager.bin"),
                  tmconfig.vm("linux", image="linux.img", ramdisk="initramfs.cpio", memory=256,
                              vcpus=2, bootargs="console=ttyAMA0")])

The properties are those of boot/config.md. `raw` adds device tree source to the node as it is.
"""

MIB = 1 << 20


def vm(name, **options):
    return dict(options, name=name)


def cells64(value):
    return "<0x%x 0x%x>" % (value >> 32, value & 0xffffffff)


def strings(value):
    return ", ".join('"%s"' % part.replace("\\", "\\\\").replace('"', '\\"')
                     for part in ([value] if isinstance(value, str) else value))


# option of vm() -> (property, how to write its value)
PROPERTIES = {
    "image": ("image", strings),
    "ramdisk": ("ramdisk", strings),
    "dtb": ("dtb", strings),
    "bootargs": ("bootargs", strings),
    "memory": ("memory-size", lambda mib: cells64(int(mib * MIB))),
    "memory_base": ("memory-base", cells64),
    "pool": ("pool-size", lambda mib: cells64(int(mib * MIB))),
    "vcpus": ("vcpus", lambda n: "<%d>" % n),
    "prio": ("priority", lambda n: "<%d>" % n),
    "affinity": ("affinity", cells64),
    "slice_us": ("slice-us", lambda n: "<%d>" % n),
    "dirty": ("dirty-flags", lambda n: "<%d>" % n),
    "ring": ("ring-entries", lambda n: "<%d>" % n),
}
FLAGS = {"manager": "manager", "autostart": "autostart"}


def node(options):
    lines = ["\t\t%s {" % options["name"]]
    for key, value in options.items():
        if key == "name" or key == "raw":
            continue
        if key in FLAGS:
            if value:
                lines.append("\t\t\t%s;" % FLAGS[key])
            continue
        name, write = PROPERTIES[key]
        lines.append("\t\t\t%s = %s;" % (name, write(value)))
    if "raw" in options:
        lines.append("\t\t\t" + options["raw"])
    lines.append("\t\t};")
    return "\n".join(lines)


def dts(vms):
    return "/dts-v1/;\n/ {\n\ttidemark {\n\t\tcompatible = \"tidemark,config\";\n%s\n\t};\n};\n" % (
        "\n".join(node(options) for options in vms))
