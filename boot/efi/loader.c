// SPDX-License-Identifier: Apache-2.0
/*
 * BOOTX64.EFI: reads image, module archive and command line from the volume it was started from,
 * leaves boot services and enters the image (boot/x86/entry.h). Runs wherever firmware puts it, uses
 * no SSE (U-Boot leaves it off) and nothing of gnu-efi but its headers. One CPU, no locks. What
 * goes wrong before boot services end is one line on the firmware's console and a return to it.
 */
#include <efi.h>
#include <stdbool.h>
#include <stdint.h>
/* The headers take it away from compilers for this object format. */
#undef __attribute__

#include <boot/x86/entry.h>

#define IMAGE_FILE L"\\tidemark\\tidemark.img"
#define MODULE_FILE L"\\tidemark\\modules.cpio"
#define CMDLINE_FILE L"\\tidemark\\cmdline.txt"
#define CMDLINE_BYTES 1024u
#define EXIT_TRIES 8u
/* A map grows by the allocations made for it, and once more between two calls. */
#define MAP_SLACK 32u

struct file_memory {
	EFI_PHYSICAL_ADDRESS at;
	uint64_t bytes;
};

struct memory_map {
	uint8_t *buffer;
	UINTN capacity, bytes, key, stride;
};

static EFI_SYSTEM_TABLE *system;
static EFI_BOOT_SERVICES *services;
static char cmdline[CMDLINE_BYTES];
static struct boot_handoff handoff;

/* The compiler may call these. */
void *memset(void *to, int value, UINTN bytes);
void *memcpy(void *to, const void *from, UINTN bytes);
EFI_STATUS EFIAPI efi_main(EFI_HANDLE self, EFI_SYSTEM_TABLE *table);

void *memset(void *to, int value, UINTN bytes)
{
	void *p = to;

	__asm__ volatile("rep stosb" : "+D"(p), "+c"(bytes) : "a"(value) : "memory");
	return to;
}

void *memcpy(void *to, const void *from, UINTN bytes)
{
	void *p = to;

	__asm__ volatile("rep movsb" : "+D"(p), "+S"(from), "+c"(bytes) : : "memory");
	return to;
}

/* --- messages --------------------------------------------------------------------------------- */
static void print(const CHAR16 *text)
{
	system->ConOut->OutputString(system->ConOut, (CHAR16 *)text);
}

static void print_hex(uint64_t value)
{
	CHAR16 text[19] = L"0x";
	unsigned n = 2;

	for (int shift = 60; shift >= 0; shift -= 4) {
		unsigned digit = (unsigned)(value >> shift) & 0xf;

		if (digit != 0 || n > 2 || shift == 0) {
			text[n++] = (CHAR16)(digit < 10 ? '0' + digit : 'a' + digit - 10);
		}
	}
	text[n] = 0;
	print(text);
}

/* Says why, and gives a status to return. */
static EFI_STATUS fail(const CHAR16 *what, const CHAR16 *why, EFI_STATUS status)
{
	print(L"tidemark: cannot start: ");
	print(what);
	print(why);
	if (status != EFI_SUCCESS) {
		print(L" (EFI status ");
		print_hex(status);
		print(L")");
	}
	print(L"\r\n");
	return EFI_ERROR(status) ? status : EFI_LOAD_ERROR;
}

/* --- files ------------------------------------------------------------------------------------ */
static EFI_STATUS volume_open(EFI_HANDLE self, EFI_FILE_PROTOCOL **root)
{
	EFI_GUID image_guid = EFI_LOADED_IMAGE_PROTOCOL_GUID;
	EFI_GUID volume_guid = EFI_SIMPLE_FILE_SYSTEM_PROTOCOL_GUID;
	EFI_LOADED_IMAGE_PROTOCOL *image;
	EFI_SIMPLE_FILE_SYSTEM_PROTOCOL *volume;
	EFI_STATUS status;

	status = services->HandleProtocol(self, &image_guid, (void **)&image);
	if (!EFI_ERROR(status)) {
		status = services->HandleProtocol(image->DeviceHandle, &volume_guid,
						  (void **)&volume);
	}
	return EFI_ERROR(status) ? status : volume->OpenVolume(volume, root);
}

static EFI_STATUS file_size(EFI_FILE_PROTOCOL *file, uint64_t *bytes)
{
	/* The structure with a name behind it. */
	static uint64_t buffer[128];
	EFI_GUID guid = EFI_FILE_INFO_ID;
	UINTN size = sizeof(buffer);
	EFI_STATUS status = file->GetInfo(file, &guid, &size, buffer);

	*bytes = ((EFI_FILE_INFO *)buffer)->FileSize;
	return status;
}

static EFI_STATUS file_read(EFI_FILE_PROTOCOL *file, uint8_t *to, uint64_t bytes)
{
	while (bytes > 0) {
		UINTN part = bytes;
		EFI_STATUS status = file->Read(file, &part, to);

		if (EFI_ERROR(status)) {
			return status;
		}
		if (part == 0 || part > bytes) {
			return EFI_END_OF_FILE;
		}
		to += part;
		bytes -= part;
	}
	return EFI_SUCCESS;
}

static EFI_STATUS pages(EFI_MEMORY_TYPE type, uint64_t bytes, EFI_PHYSICAL_ADDRESS *at)
{
	return services->AllocatePages(AllocateAnyPages, type, (bytes + 4095) / 4096, at);
}

/* A whole file to pages of its own; with less than `memory` bytes there is space behind it. */
static EFI_STATUS load(EFI_FILE_PROTOCOL *file, const CHAR16 *name, EFI_MEMORY_TYPE type,
		       uint64_t memory, struct file_memory *out)
{
	EFI_STATUS status = file_size(file, &out->bytes);

	if (EFI_ERROR(status) || out->bytes == 0) {
		return fail(name, L": no size", status);
	}
	memory = memory > out->bytes ? memory : out->bytes;
	status = pages(type, memory, &out->at);
	if (EFI_ERROR(status)) {
		return fail(name, L": not enough memory", status);
	}
	status = file_read(file, (uint8_t *)out->at, out->bytes);
	return EFI_ERROR(status) ? fail(name, L": cannot be read", status) : EFI_SUCCESS;
}

/* The header says how much memory the image takes. */
static EFI_STATUS load_image(EFI_FILE_PROTOCOL *root, uint64_t *entry)
{
	struct boot_image_header h;
	struct file_memory image;
	EFI_FILE_PROTOCOL *file;
	EFI_STATUS status = root->Open(root, &file, IMAGE_FILE, EFI_FILE_MODE_READ, 0);

	if (EFI_ERROR(status)) {
		return fail(IMAGE_FILE, L": not found", status);
	}
	status = file_read(file, (uint8_t *)&h, sizeof(h));
	if (EFI_ERROR(status) || h.magic != BOOT_IMAGE_MAGIC || h.entry64 >= h.file_bytes ||
	    h.memory_bytes < h.file_bytes) {
		return fail(IMAGE_FILE, L": not an image for x86", status);
	}
	status = file->SetPosition(file, 0);
	if (EFI_ERROR(status)) {
		return fail(IMAGE_FILE, L": cannot be read", status);
	}
	/* Code: some firmware maps data never executable. */
	status = load(file, IMAGE_FILE, EfiLoaderCode, h.memory_bytes, &image);
	if (EFI_ERROR(status)) {
		return status;
	}
	if (image.bytes < h.file_bytes || image.bytes > h.memory_bytes) {
		return fail(IMAGE_FILE, L": its size is not what its header says", EFI_SUCCESS);
	}
	file->Close(file);
	handoff.image_base = image.at;
	*entry = image.at + h.entry64;
	return EFI_SUCCESS;
}

static EFI_STATUS load_module(EFI_FILE_PROTOCOL *root)
{
	struct file_memory module;
	EFI_FILE_PROTOCOL *file;
	EFI_STATUS status = root->Open(root, &file, MODULE_FILE, EFI_FILE_MODE_READ, 0);

	/* The hypervisor refuses to start without, and says why. */
	if (EFI_ERROR(status)) {
		return status == EFI_NOT_FOUND ? EFI_SUCCESS :
						 fail(MODULE_FILE, L": cannot be opened", status);
	}
	status = load(file, MODULE_FILE, EfiLoaderData, 0, &module);
	if (!EFI_ERROR(status)) {
		file->Close(file);
		handoff.module_base = module.at;
		handoff.module_size = module.bytes;
	}
	return status;
}

/* The first line of the file; none is fine. */
static EFI_STATUS load_cmdline(EFI_FILE_PROTOCOL *root)
{
	EFI_FILE_PROTOCOL *file;
	uint64_t bytes;
	EFI_STATUS status = root->Open(root, &file, CMDLINE_FILE, EFI_FILE_MODE_READ, 0);

	if (EFI_ERROR(status)) {
		return EFI_SUCCESS;
	}
	status = file_size(file, &bytes);
	if (EFI_ERROR(status) || bytes >= sizeof(cmdline)) {
		return fail(CMDLINE_FILE, L": longer than 1023 bytes", status);
	}
	status = file_read(file, (uint8_t *)cmdline, bytes);
	if (EFI_ERROR(status)) {
		return fail(CMDLINE_FILE, L": cannot be read", status);
	}
	file->Close(file);
	for (uint64_t i = 0; i < bytes; i++) {
		if (cmdline[i] == '\r' || cmdline[i] == '\n') {
			cmdline[i] = '\0';
			break;
		}
	}
	handoff.cmdline = (uint64_t)cmdline;
	return EFI_SUCCESS;
}

/* --- ACPI, memory map ------------------------------------------------------------------------- */
static bool guid_is(const EFI_GUID *a, const EFI_GUID *b)
{
	const uint64_t *x = (const uint64_t *)a;
	const uint64_t *y = (const uint64_t *)b;

	return x[0] == y[0] && x[1] == y[1];
}

static void find_rsdp(void)
{
	EFI_GUID acpi2 = ACPI_20_TABLE_GUID;
	EFI_GUID acpi1 = ACPI_TABLE_GUID;

	for (UINTN i = 0; i < system->NumberOfTableEntries; i++) {
		EFI_CONFIGURATION_TABLE *t = &system->ConfigurationTable[i];

		if (guid_is(&t->VendorGuid, &acpi2)) {
			handoff.rsdp = (uint64_t)t->VendorTable;
			return;
		}
		if (guid_is(&t->VendorGuid, &acpi1)) {
			handoff.rsdp = (uint64_t)t->VendorTable;
		}
	}
}

static EFI_STATUS map_read(struct memory_map *m)
{
	UINT32 version;

	m->bytes = m->capacity;
	return services->GetMemoryMap(&m->bytes, (EFI_MEMORY_DESCRIPTOR *)m->buffer, &m->key,
				      &m->stride, &version);
}

/* Memory for the map and for what is made of it: nothing may be allocated once it is read. */
static EFI_STATUS map_prepare(struct memory_map *m)
{
	EFI_PHYSICAL_ADDRESS at;
	EFI_STATUS status;

	m->capacity = 0;
	status = map_read(m);
	if (status != EFI_BUFFER_TOO_SMALL || m->stride < sizeof(EFI_MEMORY_DESCRIPTOR)) {
		return fail(L"", L"no memory map", status);
	}
	m->capacity = m->bytes + MAP_SLACK * m->stride;
	status = pages(EfiLoaderData, m->capacity, &at);
	if (!EFI_ERROR(status)) {
		m->buffer = (uint8_t *)at;
		status = pages(EfiLoaderData,
			       m->capacity / m->stride * sizeof(struct boot_range), &at);
		handoff.ranges = at;
	}
	return EFI_ERROR(status) ? fail(L"", L"not enough memory for the memory map", status) :
				   EFI_SUCCESS;
}

/* 0: no memory at all. */
static uint64_t range_kind(UINT32 type)
{
	switch (type) {
	case EfiLoaderCode:
	case EfiLoaderData:
	case EfiBootServicesCode:
	case EfiBootServicesData:
	case EfiConventionalMemory:
		return BOOT_RANGE_RAM;
	case EfiMemoryMappedIO:
	case EfiMemoryMappedIOPortSpace:
		return 0;
	default:
		return BOOT_RANGE_RESERVED;
	}
}

static void fill_ranges(const struct memory_map *m)
{
	struct boot_range *ranges = (struct boot_range *)handoff.ranges;
	struct boot_range *last = NULL;
	uint64_t count = 0;

	for (UINTN at = 0; m->bytes - at >= m->stride; at += m->stride) {
		const EFI_MEMORY_DESCRIPTOR *d = (const EFI_MEMORY_DESCRIPTOR *)(m->buffer + at);
		uint64_t kind = range_kind(d->Type);
		uint64_t size = d->NumberOfPages * 4096;

		if (kind == 0 || size == 0) {
			continue;
		}
		/* Firmware's map is in many pieces. */
		if (last != NULL && last->kind == kind && last->base + last->size == d->PhysicalStart) {
			last->size += size;
			continue;
		}
		last = &ranges[count++];
		last->base = d->PhysicalStart;
		last->size = size;
		last->kind = kind;
	}
	handoff.range_count = count;
}

/* The key is stale when the map changed since: read it again. */
static EFI_STATUS leave_firmware(EFI_HANDLE self, struct memory_map *m)
{
	EFI_STATUS status = EFI_LOAD_ERROR;

	for (unsigned i = 0; i < EXIT_TRIES; i++) {
		status = map_read(m);
		if (!EFI_ERROR(status)) {
			status = services->ExitBootServices(self, m->key);
			if (!EFI_ERROR(status)) {
				return status;
			}
		}
	}
	return fail(L"", L"firmware does not let go", status);
}

EFI_STATUS EFIAPI efi_main(EFI_HANDLE self, EFI_SYSTEM_TABLE *table)
{
	static struct memory_map map;
	EFI_FILE_PROTOCOL *root;
	EFI_STATUS status;
	uint64_t entry;

	system = table;
	services = table->BootServices;
	status = volume_open(self, &root);
	if (EFI_ERROR(status)) {
		return fail(L"", L"the boot volume cannot be read", status);
	}
	status = load_image(root, &entry);
	if (!EFI_ERROR(status)) {
		status = load_module(root);
	}
	if (!EFI_ERROR(status)) {
		status = load_cmdline(root);
	}
	if (!EFI_ERROR(status)) {
		status = map_prepare(&map);
	}
	if (EFI_ERROR(status)) {
		return status;
	}
	handoff.magic = BOOT_HANDOFF_MAGIC;
	find_rsdp();
	status = leave_firmware(self, &map);
	if (EFI_ERROR(status)) {
		return status;
	}
	fill_ranges(&map);
	__asm__ volatile("cli\n\tcld\n\tjmp *%0" : : "r"(entry), "D"(&handoff) : "memory");
	__builtin_unreachable();
}
