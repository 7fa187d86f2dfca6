//! The board: reset, a tick, a serial port, and the loop.
#![allow(
    unsafe_code,
    reason = "registers, the vector table and the one static that is lent are beyond what the compiler can see"
)]

use core::cell::UnsafeCell;
use core::mem::MaybeUninit;
use core::panic::PanicInfo;
use core::ptr::{read_volatile, write_volatile};
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use redlink_core::{Boot, Config, Core, Duration, Instant, Name, NodeId};
use redlink_leaf::{Leaf, Memory};

// The vector table and what runs before Rust may: `.data` is copied from flash and `.bss` zeroed.
core::arch::global_asm!(
    ".section .vectors, \"a\"",
    ".word stack_top, reset, halt, halt, halt, halt, halt, 0, 0, 0, 0, halt, halt, 0, halt, tick",
    ".section .text.reset, \"ax\"",
    ".thumb",
    ".thumb_func",
    ".global reset",
    "reset:",
    // The floating-point unit, since the target's code may use it.
    "ldr r0, =0xe000ed88",
    "ldr r1, [r0]",
    "orr r1, r1, #0xf00000",
    "str r1, [r0]",
    "dsb",
    "isb",
    "ldr r0, =data_start",
    "ldr r1, =data_end",
    "ldr r2, =data_load",
    "1: cmp r0, r1",
    "bhs 2f",
    "ldr r3, [r2], #4",
    "str r3, [r0], #4",
    "b 1b",
    "2: ldr r0, =bss_start",
    "ldr r1, =bss_end",
    "movs r2, #0",
    "3: cmp r0, r1",
    "bhs 4f",
    "str r2, [r0], #4",
    "b 3b",
    "4: bl run",
    ".thumb_func",
    ".global halt",
    "halt: b halt",
    ".ltorg",
);

/// A static that is lent once.
struct Once<T> {
    lent: AtomicBool,
    value: UnsafeCell<T>,
}

// SAFETY: the value is reached through `lend` alone, which gives it out once.
unsafe impl<T: Send> Sync for Once<T> {}

impl<T> Once<T> {
    const fn new(value: T) -> Self {
        Self {
            lent: AtomicBool::new(false),
            value: UnsafeCell::new(value),
        }
    }

    #[allow(clippy::mut_from_ref, reason = "given out once")]
    fn lend(&self) -> Option<&mut T> {
        // SAFETY: only the first call gets here, so no other reference to the value exists, nor will.
        (!self.lent.swap(true, Ordering::Relaxed)).then(|| unsafe { &mut *self.value.get() })
    }
}

static MEMORY: Once<Memory> = Once::new(Memory::new());
static CORE: Once<MaybeUninit<Core<'static>>> = Once::new(MaybeUninit::uninit());

/// Milliseconds since reset, as two halves: a Cortex-M4 has no 64-bit atomics.
static TICKS: [AtomicU32; 2] = [const { AtomicU32::new(0) }; 2];

#[unsafe(no_mangle)]
extern "C" fn tick() {
    if TICKS[0].fetch_add(1, Ordering::Relaxed) == u32::MAX {
        TICKS[1].fetch_add(1, Ordering::Relaxed);
    }
}

fn now() -> Instant {
    loop {
        let [low, high] = &TICKS;
        let before = high.load(Ordering::Relaxed);
        let millis = low.load(Ordering::Relaxed);
        if before == high.load(Ordering::Relaxed) {
            return Instant::from_micros((u64::from(before) << 32 | u64::from(millis)) * 1_000);
        }
    }
}

/// A register of the board.
#[derive(Clone, Copy)]
struct Register(usize);

impl Register {
    fn read(self) -> u32 {
        // SAFETY: the addresses below are the board's registers.
        unsafe { read_volatile(self.0 as *const u32) }
    }

    fn write(self, value: u32) {
        // SAFETY: as above.
        unsafe { write_volatile(self.0 as *mut u32, value) }
    }
}

const TICK_CONTROL: Register = Register(0xe000_e010);
const TICK_RELOAD: Register = Register(0xe000_e014);
const TICK_VALUE: Register = Register(0xe000_e018);
const SERIAL_DATA: Register = Register(0x4000_4000);
const SERIAL_STATE: Register = Register(0x4000_4004);
const SERIAL_CONTROL: Register = Register(0x4000_4008);
const SERIAL_DIVISOR: Register = Register(0x4000_4010);
/// The processor's clock, in Hz.
const CLOCK: u32 = 25_000_000;

fn send(bytes: &[u8]) {
    for &byte in bytes {
        while SERIAL_STATE.read() & 1 != 0 {}
        SERIAL_DATA.write(u32::from(byte));
    }
}

#[unsafe(no_mangle)]
extern "C" fn run() -> ! {
    SERIAL_DIVISOR.write(CLOCK / 115_200);
    SERIAL_CONTROL.write(0b11);
    TICK_RELOAD.write(CLOCK / 1_000 - 1);
    TICK_VALUE.write(0);
    TICK_CONTROL.write(0b111);

    let (Some(memory), Some(core)) = (MEMORY.lend(), CORE.lend()) else {
        halt()
    };
    let (Ok(name), Ok(mesh)) = (Name::new("leaf"), Name::new("home")) else {
        halt()
    };
    // A product takes these from its flash and its source of noise.
    let config = Config {
        boot: Boot {
            counter: 1,
            random: 7,
        },
        ..Config::new(NodeId(0x1eaf), name, mesh)
    };
    let mut leaf = Leaf::new(memory, core, config);

    let mut due = now();
    let mut count = 0u32;
    loop {
        while SERIAL_STATE.read() & 2 != 0 {
            leaf.receive(now(), &[SERIAL_DATA.read() as u8]);
        }
        if now() >= due {
            due += Duration::from_secs(10);
            count += 1;
            // Refused means that its table is full: then this measurement is lost, and `Progress` counts it not.
            let _ = leaf.measure(now(), "measured", &count.to_be_bytes());
        }
        leaf.poll(now(), send);
    }
}

fn halt() -> ! {
    loop {
        core::hint::spin_loop();
    }
}

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    halt()
}
